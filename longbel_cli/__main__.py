"""`python -m longbel_cli` and the `longbel` command."""

from longbel_cli.app import main

if __name__ == "__main__":
    main()

"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const LEVEL_OF = new Map([...LEVELS].map((char, level) => [char, level]));
  const TOP = LEVELS.length - 1, MIDDLE = LEVELS.length / 2, BLOCK_WORDS = 300;
  const METHOD_NAMES = { gradient: "Gradient", integrated: "Integrated", ablation: "Ablation" };
  const PART_NAMES = { context: "Document", memory: "Earlier normalizations", mention: "Mention and group", frame: "Headings and marks" };
  const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
  const $ = (id) => document.getElementById(id);
  const state = { mention: -1, method: null, subject: null, view: "strength" };
  let blocks = [], shownDocument = -1;

  const make = (tag, classes, text) => {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : Math.round(share * 100) + " %");
  const fixed = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const signedNumber = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
  const subjectOf = (map) => map.rank + (map.versus === null ? "" : "/" + map.versus);
  const subjectName = (map) => map.versus === null ? "Candidate " + map.rank : map.rank + " rather than " + map.versus;
  const current = () => data.mentions[state.mention];
  const currentMap = () => current().maps.find((map) => map.method === state.method && subjectOf(map) === state.subject);

  // Text with controls and bidirectional overrides kept, but named and without effect.
  const writeText = (parent, text) => {
    let from = 0;
    for (const match of text.matchAll(CONTROL)) {
      if (match.index > from) parent.append(text.slice(from, match.index));
      const control = make("bdi", "control", match[0]);
      control.dataset.code = "U+" + match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      parent.append(control);
      from = match.index + match[0].length;
    }
    if (from < text.length) parent.append(text.slice(from));
  };
  const written = (tag, classes, text) => {
    const element = make(tag, classes);
    writeText(element, text);
    return element;
  };

  // A document is drawn as blocks: lines, cut further where a line has very many words.
  const buildDocument = (number) => {
    const article = $("document");
    article.replaceChildren();
    blocks = [];
    shownDocument = number;
    let word = 0;
    data.documents[number].passages.forEach((passage, passageNumber) => {
      const section = make("section", "passage");
      if (passage.type) section.append(written("p", "type", passage.type));
      const ends = [];
      for (let end = passage.text.indexOf("\n"); end >= 0; end = passage.text.indexOf("\n", end + 1)) ends.push(end + 1);
      ends.push(passage.text.length);
      let start = 0, position = 0, step = 0, words = [];
      const close = (end) => {
        const element = make("p");
        element.dir = "auto";
        section.append(element);
        blocks.push({ element, text: passage.text, passage: passageNumber, start, end, words, drawn: null });
        start = end;
        words = [];
      };
      for (const end of ends) {
        while (step < passage.words.length) {
          const from = position + passage.words[step], to = from + passage.words[step + 1];
          if (from >= end) break;
          if (words.length >= BLOCK_WORDS && passage.text.length > 20000) close(from);
          words.push([from, to, word++]);
          position = to;
          step += 2;
        }
        if (end > start || start === 0) close(end);
      }
      article.append(section);
    });
  };

  const spansByPassage = () => {
    const found = new Map();
    data.mentions.forEach((mention, number) => {
      if (mention.document !== shownDocument) return;
      for (const [passage, start, end] of mention.spans) {
        if (!found.has(passage)) found.set(passage, []);
        found.get(passage).push({ start, end, number });
      }
    });
    return found;
  };

  const shade = (map) => {
    const signed = state.view === "direction" && map.signed !== null;
    const codes = signed ? map.signed : map.words;
    return (word) => {
      const level = LEVEL_OF.get(codes[word - map.first]);
      if (level === undefined) return 0;
      return signed ? (level - MIDDLE) / (MIDDLE - 1) : level / TOP;
    };
  };
  const heatClass = (strength) => {
    const level = Math.ceil(Math.abs(strength) * 9 - 0.15);
    return level <= 0 ? "" : (strength < 0 ? "a" : "f") + level;
  };

  const drawBlock = (block, strength, spans) => {
    const inside = spans.filter((span) => span.start < block.end && span.end > block.start);
    const mine = inside.filter((span) => span.number === state.mention);
    const key = block.words.map(([, , word]) => heatClass(strength(word))).join(",") + "|" +
      mine.map((span) => span.start + "-" + span.end).join(",");
    if (block.drawn === key) return;
    block.drawn = key;
    const cuts = new Set([block.start, block.end]);
    const heats = new Map();
    for (const [from, to, word] of block.words) {
      const value = strength(word);
      if (heatClass(value)) { cuts.add(from); cuts.add(to); heats.set(from, [to, value]); }
    }
    for (const span of inside) { cuts.add(Math.max(span.start, block.start)); cuts.add(Math.min(span.end, block.end)); }
    const edges = [...cuts].sort((a, b) => a - b);
    const fragment = document.createDocumentFragment();
    let heatEnd = -1, heat = 0;
    for (let i = 0; i + 1 < edges.length; i++) {
      const [from, to] = [edges[i], edges[i + 1]];
      if (heats.has(from)) [heatEnd, heat] = heats.get(from);
      const classes = [];
      if (from < heatEnd) classes.push(heatClass(heat));
      const own = mine.find((span) => span.start <= from && span.end >= to);
      const other = own || inside.filter((span) => span.start <= from && span.end >= to)
        .reduce((best, span) => (!best || span.end - span.start < best.end - best.start ? span : best), null);
      if (own) {
        classes.push("in");
        if (own.start === from) classes.push("first");
        if (own.end === to) classes.push("last");
      } else if (other) classes.push("other");
      const text = block.text.slice(from, to).replace(/\n$/, "");
      if (!classes.length) { writeText(fragment, text); continue; }
      const piece = written("span", classes.join(" "), text);
      piece.dataset.at = block.passage + ":" + from;
      if (from < heatEnd) piece.dataset.heat = String(heat);
      if (other && !own) piece.dataset.mention = String(other.number);
      fragment.append(piece);
    }
    block.element.replaceChildren(fragment);
  };

  const drawDocument = () => {
    if (current().document !== shownDocument) buildDocument(current().document);
    const strength = shade(currentMap());
    const spans = spansByPassage();
    for (const block of blocks) drawBlock(block, strength, spans.get(block.passage) || []);
  };

  const goTo = (places, flash) => {
    if (!places.length) return;
    const [passage, start, end] = places[0];
    const block = blocks.find((item) => item.passage === passage && item.start <= start && start < item.end);
    if (!block) return;
    const pieces = [...block.element.querySelectorAll("[data-at]")].filter((piece) => {
      const at = Number(piece.dataset.at.split(":")[1]);
      return at >= start && at < end;
    });
    const target = pieces[0] || block.element;
    target.scrollIntoView({ block: "center" });
    // Blocks out of sight have an estimated height until they are drawn.
    requestAnimationFrame(() => target.scrollIntoView({ block: "center" }));
    if (!flash) return;
    const lit = pieces.length ? pieces : [block.element];
    lit.forEach((piece) => piece.classList.add("flash"));
    setTimeout(() => lit.forEach((piece) => piece.classList.remove("flash")), 1500);
  };

  const bar = (share, classes) => {
    const outer = make("div", "bar " + (classes || ""));
    const inner = make("i");
    inner.style.width = Math.max(0, Math.min(1, share)) * 100 + "%";
    outer.append(inner);
    return outer;
  };

  const drawCandidates = () => {
    const map = currentMap(), mention = current();
    $("candidates").replaceChildren(...mention.candidates.map(([rank, code, name, score]) => {
      const row = make("tr", rank === map.rank ? "chosen" : "");
      const concept = make("td");
      concept.append(written("bdi", "", name), " ", written("code", "", code));
      if (mention.gold === code) concept.append(" ", make("span", "tag", "✓ gold"));
      if (rank === map.rank) concept.append(" ", make("span", "tag", "explained"));
      if (rank === map.versus) concept.append(" ", make("span", "tag", "compared with"));
      if (score !== null) concept.append(bar(score, "plain"));
      row.append(make("td", "", String(rank)), concept, make("td", "number", fixed(score, 4)));
      return row;
    }));
    if (mention.gold !== null && !mention.candidates.some(([, code]) => code === mention.gold)) {
      const row = make("tr"), cell = make("td");
      cell.colSpan = 3;
      const name = mention.gold_name;
      cell.append("Gold, not among these: ", ...(name === null ? [] : [written("bdi", "", name), " "]),
        written("code", "", mention.gold), name === null ? " (not in the knowledge base)" : "");
      row.append(cell);
      $("candidates").append(row);
    }
  };

  const drawShares = () => {
    const list = make("ul", "rows");
    for (const part of ["context", "memory", "mention", "frame"]) {
      const share = currentMap().shares[part];
      const item = make("li"), row = make("div", "row"), line = make("div", "line");
      line.append(make("span", "", PART_NAMES[part]), make("span", "value", percent(share)));
      row.append(line, bar(share));
      item.append(row);
      list.append(item);
    }
    $("shares").replaceChildren(list);
  };

  // A weight as the chosen view shows it: [strength, direction or null].
  const isSigned = (map) => map.method === "ablation" || (state.view === "direction" && map.signed !== null);
  const valueOf = (map, [score, direction]) => (isSigned(map) && direction !== null ? direction : score);

  // Weight lines that lead to a place in the document; `items` are [node, weight, places].
  const weightRows = (items, map) => {
    const list = make("ul", "rows");
    const signed = isSigned(map), value = (weight) => valueOf(map, weight);
    const largest = Math.max(...items.map(([, weight]) => Math.abs(value(weight))), 1e-12);
    for (const [content, weight, places] of items) {
      const item = make("li"), row = make(places.length ? "button" : "div", "row"), line = make("div", "line");
      if (places.length) { row.type = "button"; row.addEventListener("click", () => goTo(places, true)); }
      const shown = signed ? signedNumber(value(weight)) : percent(map.total ? weight[0] / map.total : 0);
      line.append(content, make("span", "value", shown));
      row.append(line, bar(Math.abs(value(weight)) / largest, value(weight) < 0 ? "against" : ""));
      item.append(row);
      list.append(item);
    }
    return list;
  };
  const meaning = (map) => {
    if (map.method === "ablation") return "Log-probability lost without it";
    if (state.view === "direction" && map.signed !== null) return "Above zero speaks for the concept, below zero against it";
    return "Share of all weight";
  };

  const drawMemory = () => {
    const map = currentMap(), mention = current();
    if (!mention.memory.length) { $("memory").replaceChildren(make("p", "quiet", "The prompt held none.")); return; }
    const items = mention.memory.map((line, number) => {
      const content = make("span", "text");
      content.append(written("bdi", "", line.mention), " → ", written("bdi", "", line.name));
      return [content, map.memory[number], line.spans];
    });
    $("memory").replaceChildren(make("p", "quiet", meaning(map)), weightRows(items, map));
  };

  const drawSentences = () => {
    const map = currentMap(), mention = current();
    const passages = data.documents[mention.document].passages;
    const ranked = mention.sentences
      .map((places, number) => [places, map.sentences[number]])
      .sort((a, b) => Math.abs(valueOf(map, b[1])) - Math.abs(valueOf(map, a[1]))).slice(0, 6);
    if (!ranked.length) { $("sentences").replaceChildren(make("p", "quiet", "None.")); return; }
    const items = ranked.map(([places, weight]) => {
      const [passage, start, end] = places[0];
      const content = written("bdi", "text", passages[passage].text.slice(start, end).trim().slice(0, 300));
      content.dir = "auto";
      return [content, weight, places];
    });
    $("sentences").replaceChildren(make("p", "quiet", meaning(map)), weightRows(items, map));
  };

  const drawFigures = () => {
    const map = currentMap();
    const rows = [[map.versus === null ? "Log-probability" : "Lead in log-probability per token", map.objective.toFixed(4)]];
    if (map.score !== null) {
      const recorded = current().candidates.find(([rank]) => rank === map.rank)[3];
      rows.push(["Score recorded when linked", fixed(recorded, 4)], ["Score as explained", map.score.toFixed(4)]);
    }
    if (map.change !== null) rows.push(["Change from the baseline", signedNumber(map.change)]);
    if (map.delta !== null) rows.push(["Completeness error", signedNumber(map.delta)]);
    if (map.steps !== null) rows.push(["Steps", String(map.steps)]);
    if (map.baseline !== null) rows.push(["Baseline", map.baseline]);
    $("figures").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
  };

  const swatches = (names) => {
    const box = make("span", "swatches");
    box.append(...names.map((name) => make("i", name)));
    return box;
  };
  const scale = (...parts) => { const box = make("span", "scale"); box.append(...parts); return box; };
  const drawLegend = () => {
    const map = currentMap(), nine = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const parts = state.view === "direction" && map.signed !== null
      ? [scale("against", swatches([...nine.map((n) => "a" + n).reverse(), "", ...nine.map((n) => "f" + n)]), "for"), make("span", "", "against is also underlined")]
      : [scale("0", swatches(["", ...nine.map((n) => "f" + n)]), "strongest word")];
    if (map.method === "ablation") parts.push(make("span", "", "words carry the weight of their sentence"));
    $("legend").replaceChildren(...parts);
  };

  const radios = (fieldset, name, options, chosen, pick) => {
    const legend = fieldset.querySelector("legend");
    fieldset.replaceChildren(legend, ...options.map(([value, label]) => {
      const outer = make("label"), input = make("input");
      input.type = "radio"; input.name = name; input.value = value; input.checked = value === chosen;
      input.addEventListener("change", () => { pick(value); draw(); restoreFocus(name); });
      outer.append(input, label);
      return outer;
    }));
    fieldset.hidden = options.length < 2;
  };
  const restoreFocus = (name) => document.querySelector(`input[name="${name}"]:checked`)?.focus();
  const unique = (values) => [...new Set(values)];
  const methodsOf = (mention) => unique(mention.maps.map((map) => map.method));
  const mapsOf = (mention, method) => mention.maps.filter((map) => map.method === method);
  const viewsOf = (map) => (map.signed === null ? ["strength"] : ["strength", "direction"]);

  // Keep the chosen method, candidate and view where the new choice still has them.
  const settle = () => {
    const methods = methodsOf(current());
    if (!methods.includes(state.method)) state.method = methods[0];
    const maps = mapsOf(current(), state.method);
    if (!maps.some((map) => subjectOf(map) === state.subject)) state.subject = subjectOf(maps[0]);
    if (!viewsOf(currentMap()).includes(state.view)) state.view = "strength";
  };
  const pickMethod = (method) => {
    state.method = method;
    settle();
    const map = currentMap();
    if (map.signed !== null && (method === "ablation" || map.versus !== null)) state.view = "direction";
  };

  const drawControls = () => {
    radios($("methods"), "method", methodsOf(current()).map((method) => [method, METHOD_NAMES[method] || method]), state.method, pickMethod);
    radios($("subjects"), "subject", mapsOf(current(), state.method).map((map) => [subjectOf(map), subjectName(map)]), state.subject, (value) => { state.subject = value; });
    radios($("views"), "view", viewsOf(currentMap()).map((view) => [view, view === "strength" ? "Strength" : "For and against"]), state.view, (value) => { state.view = value; });
  };

  const drawSummary = () => {
    const mention = current(), map = currentMap();
    const chosen = mention.candidates.find(([rank]) => rank === map.rank);
    $("where").replaceChildren(written("bdi", "", data.documents[mention.document].id), " · ", written("bdi", "", mention.id));
    $("mention").replaceChildren(); writeText($("mention"), mention.text);
    $("group").replaceChildren(written("bdi", "", mention.group));
    $("answer").replaceChildren();
    if (chosen) $("answer").append(written("bdi", "", chosen[2]), " ", written("code", "", chosen[1]));
    const rival = mention.candidates.find(([rank]) => rank === map.versus);
    $("rather").hidden = !rival;
    if (rival) $("rather").replaceChildren("rather than ", written("bdi", "", rival[2]), " ", written("code", "", rival[1]));
  };

  const draw = () => {
    settle();
    drawControls(); drawSummary(); drawLegend(); drawDocument();
    drawCandidates(); drawShares(); drawMemory(); drawSentences(); drawFigures();
    history.replaceState(null, "", "#" + [state.mention + 1, state.method, state.subject, state.view].join(";"));
  };

  let pickFirst = () => pickMethod(methodsOf(current())[0]);
  const choose = (number, scroll) => {
    const first = state.mention < 0;
    document.querySelector('#mentions [aria-current="true"]')?.removeAttribute("aria-current");
    state.mention = number;
    if (first) pickFirst();
    draw();
    const button = document.querySelector(`#mentions button[data-mention="${number}"]`);
    if (button) { button.setAttribute("aria-current", "true"); button.scrollIntoView({ block: "nearest" }); }
    if (scroll) goTo(current().spans, false);
  };

  const listMentions = () => {
    const list = $("mentions");
    let of = -1;
    data.mentions.forEach((mention, number) => {
      if (mention.document !== of) { of = mention.document; list.append(written("li", "of", data.documents[of].id)); }
      const item = make("li"), button = make("button"), top = mention.candidates.find(([rank]) => rank === 1);
      button.type = "button";
      button.dataset.mention = String(number);
      const mark = mention.gold === null ? "" : mention.gold === top?.[1] ? " ✓" : " ✗";
      button.append(written("bdi", "", mention.text), make("span", "score", (top ? fixed(top[3], 2) : "–") + mark));
      button.append(written("bdi", "name", top ? top[2] : "no candidate"));
      button.addEventListener("click", () => choose(number, true));
      item.dataset.find = [mention.text, mention.id, data.documents[of].id, ...(top || []).slice(1, 3)].join(" ").toLowerCase();
      item.append(button);
      list.append(item);
    });
    $("count").textContent = "(" + data.mentions.length + ")";
  };

  const next = (values, value) => values[(values.indexOf(value) + 1) % values.length];
  const KEYS = {
    j: () => choose((state.mention + 1) % data.mentions.length, true),
    k: () => choose((state.mention - 1 + data.mentions.length) % data.mentions.length, true),
    m: () => { pickMethod(next(methodsOf(current()), state.method)); draw(); },
    c: () => { state.subject = next(mapsOf(current(), state.method).map(subjectOf), state.subject); draw(); },
    v: () => { state.view = next(viewsOf(currentMap()), state.view); draw(); },
    t: () => toggleTheme(),
    "?": () => toggleHelp(),
  };
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const nameTheme = () => { $("theme-button").textContent = isDark() ? "Light" : "Dark"; };
  const toggleTheme = () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); };
  const toggleHelp = () => {
    $("help").hidden = !$("help").hidden;
    $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
  };

  $("theme-button").addEventListener("click", toggleTheme);
  $("help-button").addEventListener("click", toggleHelp);
  $("print-button").addEventListener("click", () => print());
  $("filter").addEventListener("input", () => {
    const wanted = $("filter").value.toLowerCase();
    for (const item of $("mentions").children) {
      if (item.dataset.find !== undefined) item.hidden = !item.dataset.find.includes(wanted);
    }
  });
  $("document").addEventListener("click", (event) => {
    const piece = event.target.closest("[data-mention]");
    if (piece && !String(getSelection())) choose(Number(piece.dataset.mention), false);
  });
  $("document").addEventListener("pointerover", (event) => {
    const piece = event.target.closest("[data-heat]");
    if (!piece || piece.title) return;
    const heat = Number(piece.dataset.heat);
    piece.title = Math.round(Math.abs(heat) * 100) + " % of the strongest word" + (heat < 0 ? ", against" : "");
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input[type=search], select, textarea")) return;
    const act = KEYS[event.key];
    if (act && state.mention >= 0) { event.preventDefault(); act(); }
  });

  nameTheme();
  listMentions();
  // The address names what is shown, so that a link leads to it: #mention;method;candidate;view.
  const [number, method, subject, view] = location.hash.slice(1).split(";");
  if (method) pickFirst = () => { pickMethod(method); Object.assign(state, { subject: subject || state.subject, view: view || state.view }); };
  if (data.mentions.length) {
    const wanted = Number(number) - 1;
    choose(data.mentions[wanted] ? wanted : 0, wanted >= 0);
  }
  document.documentElement.dataset.ready = "true";
})();

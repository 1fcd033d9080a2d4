"""Predictions against gold: metrics, intervals, partitions, comparison, reports."""

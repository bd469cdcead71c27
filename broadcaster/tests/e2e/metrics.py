"""Reads metrics with Prometheus's own parsers for Python, and what a dashboard asks for.

    metrics.py openmetrics|text  < ANSWER    the families, as JSON
    metrics.py asked FILE                    every metric that an expression of the dashboard names
"""
import json
import re
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

# What stands in expressions beside metrics and labels.
WORDS = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or", "unless", "without"}


def families(parse):
    return [
        {
            "name": family.name,
            "kind": family.type,
            "help": family.documentation,
            "unit": family.unit,
            "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
        }
        for family in parse(sys.stdin.read())
    ]


def expressions(node):
    """What is asked of Prometheus anywhere in the dashboard."""
    if isinstance(node, list):
        for one in node:
            yield from expressions(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "definition", "query") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)


def names(expression):
    """The metrics in it: all words but functions, lists of labels, durations and what is quoted."""
    listed = re.match(r"label_values\(\s*(.*),\s*\w+\)$", expression)
    if listed:
        expression = listed[1]
    expression = re.sub(r'"[^"]*"', "", expression)
    expression = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    expression = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", expression)
    words = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", expression)
    return [word for word in words if word not in WORDS]


match sys.argv[1:]:
    case ["openmetrics"]:
        print(json.dumps(families(openmetrics.text_string_to_metric_families)))
    case ["text"]:
        print(json.dumps(families(parser.text_string_to_metric_families)))
    case ["asked", file]:
        with open(file) as dashboard:
            asked = [name for one in expressions(json.load(dashboard)) for name in names(one)]
        # The kind of the data source stands where other variables have an expression.
        print(json.dumps(sorted(set(asked) - {"prometheus"})))

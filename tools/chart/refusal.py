"""Values that would be a mistake, each with what must be said about it. The schema or a template refuses every one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import helm_python

from tools.chart.render import ChartWrong, render

MISTAKES: Sequence[tuple[str, Any, str]] = (
    ("bridge.existingSecret", "", "bridge.existingSecret"),
    ("bridge.replicas", 2, "replicas"),
    ("bridge.existingSecret", "Not A Name", "existingSecret"),
    ("bridge.config.broker.url", "amqps://bridge:password@rabbit.example/", "url"),
    ("bridge.config.data_dir", "/tmp/elsewhere", "data_dir"),  # noqa: S108  # the mistake itself
    ("bridge.config.journal.key_file", "/etc/key", "journal"),
    ("bridge.config.http.port", 80, "http"),
    ("bridge.config.channels", [{"name": "a", "initiator_amount": 70000000000000}], "initiator_amount"),
    ("bridge.config.limits.outbox_bytes", 10**18, "limits"),
    ("bridge.config.users", [{"name": "shop", "role": "client", "password_hash": "x" * 48}], "password_hash"),
    ("bridge.persistence.accessModes", ["ReadWriteMany"], "accessModes"),
    ("bridge.persistence.size", "8", "size"),
    ("bridge.resources.limits", None, "limits"),
    ("bridge.extraEnv", [{"name": "DB_PASSWORD", "value": "x"}], "extraEnv"),
    ("bridge.extraEnv", [{"name": "URL", "value": "amqp://a:b@c/"}], "extraEnv"),
    ("bridge.extraEnv", [{"name": "CHANNEL_BRIDGE_DATA_DIR", "value": "/x"}], "extraEnv"),
    ("bridge.terminationGracePeriodSeconds", 5, "terminationGracePeriodSeconds"),
    ("signer", {"enabled": True, "keysSecret": "keys"}, "signer.existingSecret"),
    ("signer", {"enabled": True, "existingSecret": "a"}, "keysSecret"),
    ("signer.config.keys.files", ["/etc/key"], "files"),
    ("signer.config.policy.ak_x.max_amount", 5, "max_amount"),
    ("topology.enabled", True, "topology.existingSecret"),
    ("broker.tls", {"existingSecret": "tls", "certificateKey": "tls.crt"}, "privateKeyKey"),
    ("podSecurityContext.runAsUser", 0, "runAsUser"),
    ("podSecurityContext.runAsNonRoot", False, "runAsNonRoot"),
    ("podSecurityContext.fsGroupChangePolicy", "Always", "fsGroupChangePolicy"),
    ("http.port", 80, "port"),
    ("image.digest", "sha256:abc", "digest"),
    ("image.pullPolicy", "Sometimes", "pullPolicy"),
    ("networkPolicy.brokerPorts", [], "brokerPorts"),
    ("networkPolicy.metricsFrom", [{"anybody": True}], "anybody"),
    ("podDisruptionBudget.maxUnavailable", "50%", "maxUnavailable"),
    ("livenessProbe", {"periodSeconds": 0, "timeoutSeconds": 1, "failureThreshold": 1}, "periodSeconds"),
    ("tpyo", True, "tpyo"),
)


def check_refusals(good: Mapping[str, Any]) -> int:
    """How many mistakes were refused. Raises `ChartWrong` for one that was taken, or refused for another reason."""
    for path, value, word in MISTAKES:
        try:
            render(_with(good, path, value))
        except helm_python.HelmError as refusal:
            if word not in str(refusal):
                raise ChartWrong(f"{path}={value!r} is refused without a word of {word}: {refusal}") from refusal
        else:
            raise ChartWrong(f"{path}={value!r} is taken")
    return len(MISTAKES)


def _with(good: Mapping[str, Any], path: str, value: Any) -> Mapping[str, Any]:
    values: dict[str, Any] = copy.deepcopy(dict(good))
    *parts, last = path.split(".")
    place = values
    for part in parts:
        place = place.setdefault(part, {})
    place[last] = value
    return values

"""The AsyncAPI 3.0 document: the whole bus contract from the bridge's side, with an example of every message.

Made from the models and the list of messages; a test compares `docs/asyncapi.yaml` with it. Depends on nothing but
the program: the same program gives the same text.
"""

import json
from typing import Any

import yaml

from bridge import __version__
from bridge.app.asyncapi.channel import EXCHANGES, OPERATIONS, Exchange, Operation
from bridge.app.asyncapi.example import examples
from bridge.app.asyncapi.message import MESSAGES, Message
from bridge.app.asyncapi.schema import SHARED, definitions, payload
from bridge.wire.envelope import TYPE_PREFIX

CONTRACT_VERSION = 1
BINDING = "0.3.0"
Document = dict[str, Any]

_DESCRIPTION = """\
Joins aeternity state channels to RabbitMQ: commands in, sign requests and events out.

Written from the bridge's side: it *receives* commands and *sends* events. Each operation is tagged with the role of \
the broker's user on the other side. Exchanges are durable topics; an address is a routing key. Channel, command and \
account are taken from the routing key, the author from the property `user_id`, which the broker checks.

Amounts are whole aettos, 10^18 of which make one AE: decimal strings in what the bridge publishes, integers or \
strings of digits in commands. Instants are RFC 3339. Within version 1 changes only add: ignore fields you do not \
know. The bridge refuses fields it does not know.
"""


def document(prefix: str = "channels") -> Document:
    """The document for a deployment with this prefix."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "channel-bridge",
            "version": f"{CONTRACT_VERSION}.0.0",
            "description": _DESCRIPTION,
            "license": {"name": "ISC"},
            "x-program-version": __version__,
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {exchange.name: _channel(exchange, prefix) for exchange in EXCHANGES},
        "operations": {operation.name: _operation(operation) for operation in OPERATIONS},
        "components": {
            "messages": {message.name: _message(message, prefix) for message in MESSAGES},
            "messageTraits": {"published": _published(), "writtenToUs": _written_to_us()},
            "schemas": {**definitions(), "CloudEventHeaders": _headers(prefix)},
            "securitySchemes": {
                "password": {"type": "userPassword", "description": "SASL PLAIN, over TLS beyond loopback."},
                "certificate": {"type": "X509", "description": "SASL EXTERNAL: the certificate's CN is the user."},
            },
        },
    }


def as_yaml(made: Document) -> str:
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=120)


def as_json(made: Document) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _servers() -> Document:
    security = [{"$ref": "#/components/securitySchemes/password"}, {"$ref": "#/components/securitySchemes/certificate"}]
    return {
        "broker": {
            "host": "rabbitmq.example:5671",
            "protocol": "amqps",
            "protocolVersion": "0.9.1",
            "description": "Your RabbitMQ, 3.10 or later. Plain `amqp` on loopback only, unless an option allows it.",
            "security": security,
        }
    }


def _channel(exchange: Exchange, prefix: str) -> Document:
    queues = ", ".join(f"`{prefix}.{queue}`" for queue in exchange.queues)
    read_from = f" Read from {queues}." if queues else " Read from a queue of your own."
    return {
        "address": exchange.address,
        "title": exchange.title,
        "description": exchange.description + read_from,
        "parameters": exchange.parameters,
        "messages": {
            message.name: {"$ref": f"#/components/messages/{message.name}"}
            for message in MESSAGES
            if message.exchange == exchange.name
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": f"{prefix}.{exchange.name}",
                    "type": "topic",
                    "durable": True,
                    "autoDelete": False,
                    "vhost": "/",
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _operation(operation: Operation) -> Document:
    names = operation.messages or tuple(m.name for m in MESSAGES if m.exchange == operation.exchange)
    made: Document = {
        "action": operation.action,
        "channel": {"$ref": f"#/channels/{operation.exchange}"},
        "summary": operation.summary,
        "tags": [{"name": operation.role.value}],
        "messages": [{"$ref": f"#/channels/{operation.exchange}/messages/{name}"} for name in names],
        "bindings": {
            "amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "ack": True, "bindingVersion": BINDING}
        },
    }
    if operation.reply:
        made["reply"] = {"channel": {"$ref": f"#/channels/{operation.reply}"}}
    return made


def _message(message: Message, prefix: str) -> Document:
    made: Document = {
        "name": f"{TYPE_PREFIX}.{message.subject}.v{CONTRACT_VERSION}",
        "title": message.subject,
        "summary": message.summary,
        "traits": [{"$ref": f"#/components/messageTraits/{'published' if message.is_published else 'writtenToUs'}"}],
    }
    if message.exchange == "dead-letters":
        attributes = {"$ref": f"{SHARED}CloudEventHeaders"}
        made["contentType"] = "application/octet-stream"
        made["headers"] = {"type": "object", "allOf": [attributes, payload(message)]}
        made["payload"] = {"description": "What arrived, byte for byte."}
    else:
        made["payload"] = payload(message)
    if message.exchange in ("commands", "results"):
        made["correlationId"] = {"location": "$message.payload#/command_id"}
    if message.exchange in ("sign-requests", "sign-replies"):
        made["correlationId"] = {"location": "$message.payload#/sign_request_id"}
    made["examples"] = [_example(message, prefix)]
    return made


def _example(message: Message, prefix: str) -> Document:
    """The routing key stands in the name, where a reader sees it."""
    example = examples()[message.name]
    headers = {key: value.replace("/channels", f"/{prefix}", 1) for key, value in example.headers.items()}
    return {"name": example.routing_key, "headers": headers, "payload": example.body}


def _published() -> Document:
    return {
        "headers": {"$ref": f"{SHARED}CloudEventHeaders"},
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": "as ce-type", "bindingVersion": BINDING}},
        "description": "Persistent and mandatory. `message_id` is new in each attempt, `ce-id` the same in all.",
    }


def _written_to_us() -> Document:
    return {
        "description": "The property `user_id` is required. CloudEvents attributes are optional, as headers beside "
        "`application/json` or around the body with `application/cloudevents+json`; given ones must be of version 1.",
        "bindings": {"amqp": {"contentEncoding": "utf-8", "bindingVersion": BINDING}},
    }


def _headers(prefix: str) -> Document:
    texts = {
        "ce-specversion": {"type": "string", "const": "1.0"},
        "ce-id": {"type": "string", "minLength": 1, "description": "Drop repeats by it: the same in every attempt."},
        "ce-source": {"type": "string", "const": f"/{prefix}", "description": "The deployment's prefix."},
        "ce-type": {"type": "string", "pattern": r"\.v1$", "description": "Type and version of the message."},
        "ce-subject": {"type": "string", "description": "The channel's name; `_` where unknown."},
        "ce-time": {"type": "string", "format": "date-time", "description": "When it happened."},
    }
    traces = {
        "traceparent": {"type": "string", "description": "W3C Trace Context: as the command came that caused this."},
        "tracestate": {"type": "string", "description": "The same; beside `traceparent` alone."},
    }
    return {
        "type": "object",
        "description": "The attributes of CloudEvents 1.0, in binary mode.",
        "properties": texts | traces,
        "required": list(texts),
    }

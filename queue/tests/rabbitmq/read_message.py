"""Reads one message with pika and prints all of it as JSON: what a consumer in another language sees."""

import base64
import json
import sys

import pika

url, queue = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
method, properties, body = connection.channel().basic_get(queue, auto_ack=True)
names = ["content_type", "content_encoding", "delivery_mode", "message_id", "type", "timestamp", "app_id", "headers"]
print(
    json.dumps(
        {
            "exchange": method.exchange,
            "routing_key": method.routing_key,
            "body": base64.b64encode(body).decode(),
            **{name: getattr(properties, name) for name in names},
        }
    )
)
connection.close()

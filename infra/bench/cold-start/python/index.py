"""The same job in Python: a webhook comes in, and is answered 200 when RabbitMQ has confirmed it. The loop at the end
stands for the platform's own client and does less than that."""

import base64
import http.client
import json
import os
import uuid

import pika

EXCHANGE = "e-conomic.direct"
ROUTING_KEY = "webhook"

channel = None


def connect():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["QUEUE_URL"]))
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def handle(event):
    global channel
    channel = channel or connect()
    body = event.get("body") or ""
    body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    message_id = str(uuid.uuid4())
    headers = {
        "cloudEvents:id": message_id,
        "cloudEvents:httppath": event["rawPath"],
        "cloudEvents:httpquery": event["rawQueryString"],
        "cloudEvents:httpheaders": json.dumps(list(event["headers"].items())),
    }
    properties = pika.BasicProperties(delivery_mode=2, message_id=message_id, headers=headers)
    try:
        channel.basic_publish(EXCHANGE, ROUTING_KEY, body, properties, mandatory=True)
    except pika.exceptions.AMQPError:
        return {"statusCode": 503}
    return {"statusCode": 200, "body": json.dumps({"id": message_id})}


runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None):
    runtime.request(method, f"/2018-06-01/runtime/invocation/{path}", body)
    answer = runtime.getresponse()
    return answer.headers, answer.read()


while True:
    headers, event = call("GET", "next")
    answer = handle(json.loads(event))
    call("POST", f"{headers['Lambda-Runtime-Aws-Request-Id']}/response", json.dumps(answer))

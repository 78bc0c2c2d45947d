"""Signs webhooks as providers do, with their own libraries, and sends them.

Reads a job per line, and prints what it has sent and the status of the answer, per line as well.
"""

import base64
import json
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode

import httpx
import jwt
import standardwebhooks
import stripe
import svix.webhooks
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from fattureincloud_python_sdk.models.event_type import EventType
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

now = datetime.now(timezone.utc)
timestamp = str(int(now.timestamp()))
FATTURE_IN_CLOUD = "https://api-v2.fattureincloud.it"


def by_standardwebhooks(job):
    signature = standardwebhooks.Webhook(job["secret"]).sign(job["id"], now, job["body"])
    return "", {"webhook-id": job["id"], "webhook-timestamp": timestamp, "webhook-signature": signature}, job["body"]


def by_svix(job):
    signature = svix.webhooks.Webhook(job["secret"]).sign(job["id"], now, job["body"])
    return "", {"svix-id": job["id"], "svix-timestamp": timestamp, "svix-signature": signature}, job["body"]


def by_stripe(job):
    signature = stripe.WebhookSignature.generate_signature_header(job["body"], job["secret"])
    return "", {"Stripe-Signature": signature}, job["body"]


def by_slack_sdk(job):
    signature = SignatureVerifier(job["secret"]).generate_signature(timestamp=timestamp, body=job["body"])
    return "", {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}, job["body"]


def by_twilio(job):
    behind = f"/{job['type']}?a=%2B1"
    signature = RequestValidator(job["secret"]).compute_signature(job["publicUrl"] + behind, job["fields"])
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "I-Twilio-Idempotency-Token": job["id"],
        "X-Twilio-Signature": signature,
    }
    return behind, headers, urlencode(job["fields"])


def cloud_event(job, event_type):
    attributes = {"id": job["id"], "type": event_type, "source": FATTURE_IN_CLOUD, "time": now}
    return CloudEvent({**attributes, "subject": job["subject"], "datacontenttype": "application/json"}, job["data"])


def by_cloudevents(as_message):
    def sign(job):
        message = as_message(cloud_event(job, job["type"]))
        return "", {**message.headers, "authorization": f"Bearer {job['secret']}"}, message.body

    return sign


def by_pyjwt(as_message):
    def sign(job):
        message = as_message(cloud_event(job, EventType(job["type"]).value))
        claims = {"jti": job["id"], "iss": FATTURE_IN_CLOUD, "sub": job["subject"], "aud": [job["publicUrl"]], "aid": 1}
        claims |= {"iat": now, "exp": now + timedelta(hours=3)}
        token = jwt.encode(claims, job["secret"], algorithm="ES256")
        return "", {**message.headers, "Authorization": f"Bearer {token}"}, message.body

    return sign


# What each library makes of a job: what stands behind the source's address, and headers and body of a request.
LIBRARIES = {
    "standardwebhooks": by_standardwebhooks,
    "svix": by_svix,
    "stripe": by_stripe,
    "slack": by_slack_sdk,
    "twilio form": by_twilio,
    "cloudevents binary": by_cloudevents(to_binary_event),
    "cloudevents structured": by_cloudevents(to_structured_event),
    "fatture-in-cloud binary": by_pyjwt(to_binary_event),
    "fatture-in-cloud structured": by_pyjwt(to_structured_event),
}

for line in sys.stdin:
    job = json.loads(line)
    behind, headers, body = LIBRARIES[job["library"]](job)
    body = body.encode() if isinstance(body, str) else body
    answer = httpx.post(job["url"] + behind, headers=headers, content=body)
    sent = {"behind": behind, "headers": list(headers.items()), "body": base64.b64encode(body).decode()}
    print(json.dumps({"status": answer.status_code, **sent}), flush=True)

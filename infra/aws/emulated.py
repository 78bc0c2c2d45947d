#!/usr/bin/env python3
"""Deploys the template, and the program by `cargo lambda deploy`, to an emulated AWS (moto), and looks at what is there.

    emulated.py CACHE BOOTSTRAP_ZIP    (infra/check calls it, with the Python that has SAM's translator and boto3)

What moto cannot do, and so nobody has seen here: run a function, check a permission, and make a template's URL and alarms
(the output that asks for the URL is left out; `cargo lambda deploy` gets one). Nor does it know a lookup's DefaultValue:
lookups are made here, as strictly as CloudFormation makes them.
"""
import json
import logging
import os
import pathlib
import socket
import subprocess
import sys
import time

os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-north-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

import boto3
from samcli.lib.cfn_language_extensions.api import process_template
from samcli.lib.cfn_language_extensions.models import PseudoParameterValues
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = pathlib.Path(__file__).parent / "template.yaml"
STACK = "webhooks"
# The template knows no extension there.
UNKNOWN_REGION = "eu-south-2"
START_SECONDS = 60

# It complains that nobody publishes how long it took.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)


def main():
    cache, program = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    moto = subprocess.Popen(
        [cache / "venv/moto/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(moto, port)
        deploy_template(endpoint, program)
        deploy_template_elsewhere(endpoint, program)
        deploy_program(endpoint, cache, program)
    finally:
        moto.kill()
        moto.wait()


def wait_for(moto, port):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if moto.poll() is not None or time.monotonic() > deadline:
                sys.exit("moto_server did not start: run infra/check setup")
            time.sleep(0.1)


def deploy_template(endpoint, program):
    aws = lambda service: boto3.client(service, endpoint_url=endpoint)
    create_stack(aws, program, {})

    functions = {function["Handler"]: function for function in aws("lambda").list_functions()["Functions"]}
    assert sorted(functions) == ["drain", "forward"], functions
    forward, drain = functions["forward"], functions["drain"]
    for function in functions.values():
        assert function["Runtime"] == "provided.al2023", function
        assert function["CodeSize"] == program.stat().st_size, function
        assert "QUEUE_URL" not in function["Environment"]["Variables"], "a secret is a plain variable"
    concurrency = aws("lambda").get_function_concurrency(FunctionName=forward["FunctionName"])
    assert "ReservedConcurrentExecutions" not in concurrency, concurrency

    queue_url = forward["Environment"]["Variables"]["QUEUE_FALLBACK_URLS"]
    queue = aws("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert queue["MessageRetentionPeriod"] == "1209600", queue
    assert queue["MaximumMessageSize"] == "1048576", queue
    assert int(queue["VisibilityTimeout"]) >= 6 * drain["Timeout"], queue
    assert json.loads(queue["RedrivePolicy"])["maxReceiveCount"] == 1000, queue
    [source] = aws("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert source["EventSourceArn"] == queue["QueueArn"], source
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], source
    assert source["FunctionArn"] == drain["FunctionArn"], source

    for log in aws("logs").describe_log_groups()["logGroups"]:
        assert log["retentionInDays"] == 30, log
    print("   the template: both functions, the queue between them and their logs are there")


def deploy_template_elsewhere(endpoint, program):
    aws = lambda service: boto3.client(service, endpoint_url=endpoint, region_name=UNKNOWN_REGION)
    extension = f"arn:aws:lambda:{UNKNOWN_REGION}:123456789012:layer:extension:1"
    create_stack(aws, program, {"ExtensionArn": extension})
    # moto forgets a stack's layers.
    assert extensions(UNKNOWN_REGION, ExtensionArn=extension) == [extension] * 2
    [name, _] = extensions(UNKNOWN_REGION)
    assert name.startswith(f"arn:aws:lambda:{UNKNOWN_REGION}:set-ExtensionArn-in-this-region:layer:"), name
    [name, _] = extensions(os.environ["AWS_DEFAULT_REGION"])
    assert name == "arn:aws:lambda:eu-north-1:427196147048:layer:AWS-Parameters-and-Secrets-Lambda-Extension:12", name
    print("   the same in a region that the template does not know, with an extension of the user's own")


def extensions(region, **parameters):
    """Each function's layer, by SAM's own reading of AWS::LanguageExtensions."""
    where = PseudoParameterValues(region=region, account_id="123456789012", partition="aws")
    resources = process_template(yaml_parse(TEMPLATE.read_text()), parameters, where)["Resources"].values()
    functions = [resource for resource in resources if resource["Type"] == "AWS::Serverless::Function"]
    return [layer for function in functions for layer in function["Properties"]["Layers"]]


def create_stack(aws, program, parameters):
    cloudformation, s3 = aws("cloudformation"), aws("s3")
    region = cloudformation.meta.region_name
    s3.create_bucket(Bucket=f"programs-{region}", CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket=f"programs-{region}", Key="bootstrap.zip", Body=program.read_bytes())
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=translated(region),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack


def translated(region):
    """The template as CloudFormation has it in a region: lookups are made, and SAM's own translator has rewritten it."""
    template = yaml_parse(TEMPLATE.read_text())
    template["Globals"]["Function"]["CodeUri"] = f"s3://programs-{region}/bootstrap.zip"
    del template["Outputs"]["WebhookUrl"]
    template["Resources"] = looked_up(template["Resources"], template["Mappings"], region)
    assert "Fn::FindInMap" not in json.dumps(template), "a lookup where AWS::LanguageExtensions may not see it"

    class NoManagedPolicies:
        def load(self):
            return {}

    return json.dumps(transform(template, {}, NoManagedPolicies()))


def looked_up(part, mappings, region):
    """Each lookup's value. CloudFormation makes all of them, those too that no condition will choose."""
    if isinstance(part, list):
        return [looked_up(item, mappings, region) for item in part]
    if not isinstance(part, dict):
        return part
    if "Fn::FindInMap" not in part:
        return {name: looked_up(value, mappings, region) for name, value in part.items()}
    name, key, field, *default = part["Fn::FindInMap"]
    assert key == {"Ref": "AWS::Region"}, f"a lookup that this script does not know: {part}"
    assert default, f"a region that {name} does not have cannot be deployed to: {part}"
    return mappings[name].get(region, {}).get(field, default[0]["DefaultValue"])


def deploy_program(endpoint, cache, program):
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = boto3.client("iam", endpoint_url=endpoint)
    role = iam.create_role(RoleName="by-hand", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    command = ["cargo", "lambda", "deploy", "by-hand", "--endpoint-url", endpoint, "--role", role]
    command += ["--binary-name", "webhook-forwarder", "--lambda-dir", str(program.parent.parent)]
    command += ["--enable-function-url", "--memory", "256", "--timeout", "10"]
    path = f"{cache / 'venv/cargo-lambda/bin'}:{os.environ['PATH']}"
    subprocess.run(command, check=True, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL)
    functions = boto3.client("lambda", endpoint_url=endpoint).list_functions()["Functions"]
    [deployed] = [function for function in functions if function["FunctionName"] == "by-hand"]
    assert deployed["Runtime"] == "provided.al2023" and deployed["CodeSize"] == program.stat().st_size, deployed
    url = boto3.client("lambda", endpoint_url=endpoint).get_function_url_config(FunctionName="by-hand")
    assert url["AuthType"] == "NONE", url
    print("   cargo lambda deploy: the function is there, with a URL")


main()

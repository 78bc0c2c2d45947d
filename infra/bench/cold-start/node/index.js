// The same job in Node: a webhook comes in, and is answered 200 when RabbitMQ has confirmed it. The loop at the end
// stands for the platform's own client and does less than that.
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import amqp from 'amqplib';

const EXCHANGE = 'e-conomic.direct';
const ROUTING_KEY = 'webhook';

let channel;

async function connect() {
  const connection = await amqp.connect(process.env.QUEUE_URL, { noDelay: true });
  return connection.createConfirmChannel();
}

async function handle(event) {
  channel ??= await connect();
  const body = Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8');
  const messageId = randomUUID();
  const headers = {
    'cloudEvents:id': messageId,
    'cloudEvents:httppath': event.rawPath,
    'cloudEvents:httpquery': event.rawQueryString,
    'cloudEvents:httpheaders': JSON.stringify(Object.entries(event.headers)),
  };
  let returned = false;
  channel.once('return', () => { returned = true; });
  channel.publish(EXCHANGE, ROUTING_KEY, body, { mandatory: true, persistent: true, messageId, headers });
  await channel.waitForConfirms();
  return returned ? { statusCode: 503 } : { statusCode: 200, body: JSON.stringify({ id: messageId }) };
}

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new Agent({ keepAlive: true });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, method, path: `/2018-06-01/runtime/invocation/${path}`, agent }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ headers: answer.headers, body: Buffer.concat(parts) }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

for (;;) {
  const next = await call('GET', 'next');
  const answer = await handle(JSON.parse(next.body));
  await call('POST', `${next.headers['lambda-runtime-aws-request-id']}/response`, JSON.stringify(answer));
}

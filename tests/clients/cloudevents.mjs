// Sends the same events as the npm SDK has them, in the mode that is asked for: node cloudevents.mjs URL KEY MODE.
// Each receipt is printed on a line of its own.
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

const [url, key, mode] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const common = { source: "/npm", time: "2026-03-01T10:00:00.000Z", subject: "email:anna@example.com" };
const events = [
  new CloudEvent({
    ...common,
    id: "body",
    type: "com.example.chat.sales_chat",
    datacontenttype: "application/json",
    dataschema: "https://example.com/chat.json",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    data: { customer: { email: "anna@example.com" }, details: { message_count: 7 }, text: "così" },
  }),
  new CloudEvent({ ...common, id: "object", type: "com.example.order.created", data: { order: 7, lines: [1.5, null] } }),
  new CloudEvent({ ...common, id: "text", type: "com.example.email.received", data: "hello" }),
  new CloudEvent({
    ...common,
    id: "xml",
    type: "com.example.mail.sent",
    datacontenttype: "application/xml",
    data: "<letter/>",
  }),
  new CloudEvent({
    ...common,
    id: "bytes",
    type: "com.example.fax.received",
    datacontenttype: "image/png",
    data: Uint8Array.of(0x89, 0x50, 0x4e, 0x47),
  }),
  new CloudEvent({ ...common, id: "nothing", type: "com.example.phone.missed_call" }),
];

if (mode === "batch") {
  const bodies = events.map((event) => HTTP.structured(event).body);
  const answer = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/cloudevents-batch+json" },
    body: `[${bodies.join(",")}]`,
  });
  console.log(JSON.stringify(await answer.json()));
} else {
  const emit = emitterFor(httpTransport(url), { mode: mode === "binary" ? Mode.BINARY : Mode.STRUCTURED });
  for (const event of events) {
    // The transport writes the body whatever it is: an event without data has an empty one.
    const answer = await emit(event.data === undefined && mode === "binary" ? event.cloneWith({ data: "" }) : event, {
      headers,
    });
    console.log(answer.body.trim());
  }
}

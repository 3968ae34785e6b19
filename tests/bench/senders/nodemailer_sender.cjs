// nodemailer's pool: personalised messages, nothing recorded.
//
//   node nodemailer_sender.cjs PORT CA_FILE_OR_- CONNECTIONS MESSAGES CONTENT
"use strict";
const fs = require("node:fs");
const { createRequire } = require("node:module");

// The package is in the benches' own folder, not beside this file.
const nodemailer = createRequire(process.env.BENCH_NODE_MODULES + "/x.js")("nodemailer");

async function main() {
  const [port, caFile, connections, messages, path] = process.argv.slice(2);
  const content = JSON.parse(fs.readFileSync(path, "utf8"));
  const secure = caFile !== "-";
  const transport = nodemailer.createTransport({
    pool: true,
    host: secure ? "localhost" : "127.0.0.1",
    port: Number(port),
    secure,
    ignoreTLS: !secure,
    tls: secure ? { ca: fs.readFileSync(caFile) } : undefined,
    maxConnections: Number(connections),
    maxMessages: Infinity,
  });
  const fill = (text, i) => text.replaceAll("{{ first_name }}", `Zoë ${i}`).replaceAll("{{ city }}", "Springfield");
  let next = 0;
  async function submit() {
    while (next < Number(messages)) {
      const i = next++;
      await transport.sendMail({
        from: content.sender,
        to: `person${i}@example.com`,
        subject: fill(content.subject, i),
        text: fill(content.text, i),
        html: fill(content.html, i),
      });
    }
  }
  const cpu = process.cpuUsage();
  const began = process.hrtime.bigint();
  // Twice as many as connections, so that the pool always has a message waiting.
  await Promise.all(Array.from({ length: 2 * Number(connections) }, submit));
  const took = Number(process.hrtime.bigint() - began) / 1e9;
  const used = process.cpuUsage(cpu);
  transport.close();
  console.log(
    JSON.stringify({
      rate: Number(messages) / took,
      "us CPU": (used.user + used.system) / Number(messages),
      MB: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

main();

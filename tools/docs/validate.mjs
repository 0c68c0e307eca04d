// Reads an AsyncAPI document with the official parser; prints each complaint, and the number of them as JSON at last.
import { readFile } from 'node:fs/promises';
import { Parser } from '@asyncapi/parser';

const text = await readFile(process.argv[2], 'utf8');
const { document, diagnostics } = await new Parser().parse(text);
const wrong = diagnostics.filter((one) => one.severity <= 1);
for (const one of wrong) {
  console.error(`${one.code} at ${one.path.join('.')}: ${one.message}`);
}
console.log(JSON.stringify({
  complaints: wrong.length,
  channels: document ? document.allChannels().length : 0,
  operations: document ? document.allOperations().length : 0,
  messages: document ? document.allMessages().length : 0,
}));

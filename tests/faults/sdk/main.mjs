// The official SDK's Channel, both parties, against the node at process.argv[2] (ws://…/channel), network process.argv[3].
// Opens, pays both ways, talks, deposits, withdraws, refuses, comes back, leaves, and closes. Prints one JSON object with
// what it did and saw; exits with 1 and the reason if anything is not as the SDK's documentation says.
import { Channel, MemoryAccount } from '@aeternity/aepp-sdk';

const [url, networkId, paymentsText] = process.argv.slice(2);
const payments = Number(paymentsText);
const BOUND_MS = 20_000;
const initiator = MemoryAccount.generate();
const responder = MemoryAccount.generate();
const figures = { initiator: initiator.address, responder: responder.address };

function check(holds, said) {
  if (!holds) throw new Error(`not so: ${said}`);
}

async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came: ${what}`)), BOUND_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function until(channel, status) {
  if (channel.status() === status) return Promise.resolve();
  return within(
    new Promise((resolve) => {
      channel.on('statusChanged', (now) => now === status && resolve());
    }),
    `status ${status}, it is ${channel.status()}`,
  );
}

function once(channel, name) {
  return within(new Promise((resolve) => channel.on(name, resolve)), name);
}

// The SDK takes whatever comes next for the answer to a request: none may be made while a report is on its way.
function reached(channel, round) {
  const there = () => channel.status() === 'open' && channel.round() === round;
  if (there()) return Promise.resolve();
  return within(
    new Promise((resolve) => {
      for (const name of ['stateChanged', 'statusChanged']) channel.on(name, () => there() && resolve());
    }),
    `round ${round}`,
  );
}

const signing = (account) => async (tx) => account.signTransaction(tx, { networkId });

async function join(role, account, more = {}) {
  const tags = [];
  const channel = await within(
    Channel.initialize({
      url,
      role,
      pushAmount: 0,
      initiatorAmount: 5_000_000_000_000_000,
      responderAmount: 3_000_000_000_000_000,
      channelReserve: 20_000_000_000,
      lockPeriod: 1,
      port: 3114,
      host: 'localhost',
      minimumDepth: 0,
      minimumDepthStrategy: 'plain',
      initiatorId: initiator.address,
      responderId: responder.address,
      sign: async (tag, tx) => {
        tags.push(tag);
        return signing(account)(tx);
      },
      ...more,
    }),
    `connecting the ${role}`,
  );
  const errors = [];
  channel.on('error', (error) => errors.push(String(error)));
  return { channel, tags, errors, account };
}

async function balances(party) {
  const found = await within(party.channel.balances([initiator.address, responder.address]), 'balances');
  return [initiator, responder].map((account) => BigInt(found[account.address]));
}

async function open() {
  const began = performance.now();
  const second = await join('responder', responder);
  const first = await join('initiator', initiator);
  await Promise.all([until(first.channel, 'open'), until(second.channel, 'open')]);
  figures.open_ms = performance.now() - began;
  check(first.channel.id() === second.channel.id(), 'both see the same channel');
  check(first.channel.round() === 1, 'an opened channel is at round 1');
  check(first.tags.join() === 'initiator_sign', `the initiator signed ${first.tags}`);
  check(second.tags.join() === 'responder_sign', `the responder signed ${second.tags}`);
  figures.channel_id = first.channel.id();
  return { first, second };
}

async function pay(from, to, amount) {
  const result = await within(
    from.channel.update(from.account.address, to.account.address, amount, signing(from.account), ['a note']),
    'update',
  );
  check(result.accepted === true, `a payment was not accepted: ${JSON.stringify(result)}`);
  await reached(to.channel, from.channel.round());
}

async function payBothWays({ first, second }) {
  const [before] = await balances(first);
  let paid = 0;
  const began = performance.now();
  for (let n = 1; n <= payments; n += 1) {
    await pay(first, second, 1000 + n);
    await pay(second, first, n);
    paid += 1000;
  }
  figures.payments = 2 * payments;
  figures.payments_per_second = (2000 * payments) / (performance.now() - began);
  const [after] = await balances(second);
  check(before - after === BigInt(paid), `paid ${paid}, moved ${before - after}`);
  check(first.channel.round() === 1 + 2 * payments, `round ${first.channel.round()}`);
  check(!second.tags.includes('update'), 'an acknowledgement is no proposal');
  check(second.tags.filter((tag) => tag === 'update_ack').length === payments, `tags ${second.tags.length}`);
}

async function refuse({ first, second }) {
  const [before] = await balances(first);
  const ask = (sign) => first.channel.update(initiator.address, responder.address, 77, sign);
  const own = await within(ask(async () => 4), 'own refusal');
  check(own.accepted === false, 'what we do not sign is not accepted');
  const usual = second.channel._options.sign;
  second.channel._options.sign = async () => 147;
  const theirs = await within(ask(signing(initiator)), "the peer's refusal");
  second.channel._options.sign = usual;
  check(theirs.accepted === false && theirs.errorCode === 147, `refused with ${JSON.stringify(theirs)}`);
  const [after] = await balances(first);
  check(before === after, 'a refused payment moves nothing');
  figures.refused = 2;
  await pay(first, second, 1);
}

async function talk({ first, second }) {
  const heard = once(second.channel, 'message');
  await first.channel.sendMessage('how is it going?', responder.address);
  const message = await heard;
  check(message.info === 'how is it going?' && message.from === initiator.address, JSON.stringify(message));
  const answer = once(first.channel, 'message');
  await second.channel.sendMessage({ fine: true }, initiator.address);
  check((await answer).info === '{"fine":true}', 'an object is sent as text');
  figures.messages = 2;
}

async function move({ first, second }) {
  const [before] = await balances(first);
  const seen = [];
  const round = first.channel.round();
  const deposited = await within(
    first.channel.deposit(1_000_000, signing(initiator), {
      onOnChainTx: (tx) => seen.push(tx.slice(0, 3)),
      onOwnDepositLocked: () => seen.push('own'),
      onDepositLocked: () => seen.push('both'),
    }),
    'deposit',
  );
  check(deposited.accepted === true, 'deposit accepted');
  check(seen.includes('tx_') && seen.includes('own') && seen.includes('both'), `deposit callbacks ${seen}`);
  await Promise.all([reached(first.channel, round + 1), reached(second.channel, round + 1)]);
  const withdrawn = await within(second.channel.withdraw(400_000, signing(responder)), 'withdraw');
  check(withdrawn.accepted === true, 'withdraw accepted');
  await Promise.all([reached(first.channel, round + 2), reached(second.channel, round + 2)]);
  const [after, theirs] = await balances(second);
  check(after - before === 1_000_000n, `deposited ${after - before}`);
  figures.deposit = 1_000_000;
  figures.withdraw = 400_000;
  figures.held = [String(after), String(theirs)];
}

async function look({ first }) {
  const state = await within(first.channel.state(), 'state');
  check(state.signedTx != null && state.halfSignedTx == null, 'the state is co-signed, nothing is half-signed');
  const held = Object.values(state.trees.accounts).map((account) => BigInt(account.balance));
  const [mine, theirs] = await balances(first);
  check(held.includes(mine) && held.includes(theirs), `the trees hold ${held}`);
  const poi = await within(
    first.channel.poi({ accounts: [initiator.address, responder.address], contracts: [] }),
    'proof of inclusion',
  );
  check(BigInt(poi.accounts[0].get(initiator.address).balance) === mine, 'the proof shows our balance');
  check(poi.accounts[0].isComplete === true, 'the proof is complete');
  figures.looked = ['state', 'poi'];
}

// After a plain reconnect the SDK does not know the channel's id: it is kept here.
function back(party) {
  return { existingChannelId: figures.channel_id, existingFsmId: party.channel.fsmId() };
}

async function reconnect(pair) {
  const ids = back(pair.first);
  pair.first.channel.disconnect();
  await until(pair.first.channel, 'disconnected');
  pair.first = await join('initiator', initiator, ids);
  await until(pair.first.channel, 'open');
  check(pair.first.channel.fsmId() === ids.existingFsmId, 'a reconnect keeps the id');
  await pay(pair.first, pair.second, 5);
  figures.reconnected = 1;
}

async function reestablish(pair) {
  const ids = back(pair.first);
  const gone = once(pair.second.channel, 'peerDisconnected');
  const left = await within(pair.first.channel.leave(), 'leave');
  check(left.channelId === ids.existingChannelId && left.signedTx.startsWith('tx_'), 'leave tells channel and state');
  await gone;
  const reestablished = once(pair.second.channel, 'channelReestablished');
  pair.first = await join('initiator', initiator, { ...ids, reestablish: true });
  await reestablished;
  await until(pair.first.channel, 'open');
  check(pair.first.channel.fsmId() !== ids.existingFsmId, 'a reestablish rotates the id');
  await pay(pair.first, pair.second, 6);
  figures.reestablished = 1;
}

async function close({ first, second }) {
  const round = first.channel.round();
  const tx = await within(first.channel.shutdown(signing(initiator)), 'shutdown');
  check(tx.startsWith('tx_'), 'shutdown ends with the transaction on chain');
  await Promise.all([until(first.channel, 'disconnected'), until(second.channel, 'disconnected')]);
  check([...first.errors, ...second.errors].length === 0, `errors ${[...first.errors, ...second.errors]}`);
  figures.closed_at = round;
}

const steps = { payBothWays, refuse, talk, move, look, reconnect, reestablish, close };
try {
  const pair = await open();
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step(pair);
    } catch (error) {
      error.message = `${name}: ${error.message}`;
      throw error;
    }
  }
  console.log(JSON.stringify({ ok: true, ...figures }));
  process.exit(0);
} catch (error) {
  console.log(JSON.stringify({ ok: false, error: error.message, stack: error.stack, ...figures }));
  process.exit(1);
}

// An official Temporal client in another language, with nothing but the names
// of the contract. It needs a server and a worker at TEMPORAL_ADDRESS.
import assert from 'node:assert/strict';
import { Client, Connection } from '@temporalio/client';

const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS });
const client = new Client({ connection });
const start = (id, drink, size) => client.workflow.start('OrderCoffeeWorkflow', {
  taskQueue: 'coffee-orders',
  workflowId: `order-${id}`,
  args: [{ order_id: id, drink, size }],
});

const completed = await start('ts1', 'latte', 'M');
assert.equal(JSON.stringify(await completed.result()),
  '{"order_id":"ts1","status":"COMPLETED","charged":true,"brewed":true,"receipt_sent":true,"amount_cents":525}');

const state = await completed.query('get_status');
assert.deepEqual(
  [state.order_id, state.cancelled, state.charged, state.brewed, state.receipt_sent, state.amount_cents],
  ['ts1', false, true, true, true, 525]);

for (const [id, cancel] of [
  ['ts2', (order) => order.signal('cancel_order')],
  ['ts3', (order) => order.cancel()],
]) {
  const order = await start(id, 'espresso', 'S');
  await cancel(order);
  const result = await order.result();
  assert.equal(result.status, 'CANCELLED');
  assert.equal(result.charged, result.refunded ?? false);
}

const invalid = await start('ts4', 'tea', 'M');
await assert.rejects(invalid.result(), (err) => /no such drink: "tea"/.test(err.cause.message));

await connection.close();
console.log('the TypeScript client and coffee understand each other');

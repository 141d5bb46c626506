// The TypeScript SDK's own kit for tests starts the program at COFFEE as it starts the
// Temporal CLI, and runs a workflow on it that calls a Nexus operation.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import * as nexus from 'nexus-rpc';

const environment = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'existing-path', path: process.env.COFFEE } },
});
try {
  const { client, connection, nativeConnection } = environment;
  await connection.operatorService.createNexusEndpoint({
    spec: { name: 'kitchen', target: { worker: { namespace: 'default', taskQueue: 'kit' } } },
  });
  const worker = await Worker.create({
    connection: nativeConnection,
    taskQueue: 'kit',
    workflowsPath: fileURLToPath(new URL('workflows.js', import.meta.url)),
    nexusServices: [nexus.serviceHandler(
      nexus.service('kitchen', { repeat: nexus.operation() }),
      { repeat: async (_, input) => input },
    )],
  });
  const got = await worker.runUntil(client.workflow.execute('hello', { taskQueue: 'kit', workflowId: 'hello', args: ['kit'] }));
  assert.equal(got, 'hello kit');
} finally {
  await environment.teardown();
}
console.log('the TypeScript kit ran a workflow and a Nexus operation');

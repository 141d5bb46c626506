import { createNexusServiceClient } from '@temporalio/workflow';
import { operation, service } from 'nexus-rpc';

export async function hello(name) {
  const kitchen = createNexusServiceClient({ endpoint: 'kitchen', service: service('kitchen', { repeat: operation() }) });
  return kitchen.executeOperation('repeat', `hello ${name}`, { scheduleToCloseTimeout: '30s' });
}

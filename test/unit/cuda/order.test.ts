import { createEngine } from '../../../lib/engines/devices';
import { PlanBuilder } from '../../../lib/plan/builder';

test('what a plan writes into a variable that was never written stays there', () => {
  // The clearing of a new variable may still wait on the stream that the plan is then captured from. The emulated device chooses
  // the order of what is not ordered at random.
  for (let i = 0; i < 20; i++) {
    const session = createEngine('cuda').createSession();
    try {
      session.declare('from', 'real', [3]);
      session.write('from', [1, 2, 3]);
      session.declare('to', 'real', [3]);
      const b = new PlanBuilder('copy');
      b.emitInto('assign', [b.variable('from', 'real', [3])], [b.variable('to', 'real', [3])], {}, 'copy');
      session.load(b.finish()).runSync();
      expect(Array.from(session.read('to'))).toEqual([1, 2, 3]);
    } finally {
      session.dispose();
    }
  }
});

/**
 * Lets calls that nobody waited for take effect in the order in which they were made: what changes a model's arrays comes after
 * all earlier calls, what only reads them after earlier changes, beside other readers. Work must not call back into it.
 */
export class CallOrder {
  /** Settled when the last change that was asked for is done, and all that came before it. */
  private changed: Promise<unknown> = Promise.resolve();
  /** Readers since then. */
  private readonly reading = new Set<Promise<unknown>>();

  reads<R>(work: () => R | Promise<R>): Promise<R> {
    const done = this.begins(work);
    const settled = done.catch(() => undefined);
    this.reading.add(settled);
    void settled.then(() => this.reading.delete(settled));
    return done;
  }

  changes<R>(work: () => R | Promise<R>): Promise<R> {
    const done = Promise.all([this.changed, ...this.reading]).then(() => work());
    this.changed = done.catch(() => undefined);
    return done;
  }

  /** For work that runs the caller's code: it begins in its turn, but later changes, which that code may wait for, do not wait for it. */
  begins<R>(work: () => R | Promise<R>): Promise<R> {
    return this.changed.then(work);
  }
}

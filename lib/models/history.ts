/** What `fit` recorded: per epoch, the final logs. */
export class History {
  /** Epoch numbers, counted from 0. */
  readonly epoch: number[] = [];
  /** Per name (`loss`, metrics, `val_…`) one number per epoch; of a metric with several results (f1 per class) their mean. */
  readonly history: Record<string, number[]> = {};

  /** Numbers that are missing in some epochs (a validation every other epoch) are NaN there. */
  record(epoch: number, logs: Readonly<Record<string, number>>): void {
    const before = this.epoch.length;
    this.epoch.push(epoch);
    for (const [name, value] of Object.entries(logs)) {
      this.history[name] ??= new Array(before).fill(Number.NaN);
      this.history[name].push(value);
    }
    for (const values of Object.values(this.history)) if (values.length === before) values.push(Number.NaN);
  }

  toJSON(): { epoch: number[]; history: Record<string, (number | null)[]> } {
    return { epoch: this.epoch, history: this.history };
  }

  /** The reverse of JSON, where NaN and infinities had become null. */
  static fromJSON(json: {
    epoch: readonly number[];
    history: Readonly<Record<string, readonly (number | null)[]>>;
  }): History {
    const history = new History();
    history.epoch.push(...json.epoch);
    for (const [name, values] of Object.entries(json.history))
      history.history[name] = values.map((v) => v ?? Number.NaN);
    return history;
  }
}

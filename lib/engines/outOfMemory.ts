import { DeepRnnError } from '../errors';

/** A device has too little memory for a plan or a variable, and says by how much. */
export class OutOfMemory extends DeepRnnError {
  constructor(
    message: string,
    /** Bytes that were asked for in all. */
    readonly needed: number,
    /** Bytes that were to be had for it. */
    readonly available: number,
    options?: { cause?: unknown },
  ) {
    super('ERR_DEVICE', message, options);
  }
}

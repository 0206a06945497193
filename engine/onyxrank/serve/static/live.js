// One request at a time, for the newest input: it waits for a pause in typing, gives up the one before, and comes
// back by itself where the server asks for patience.

const PAUSE_MS = 220;
const MOST_RETRIES = 4;

export class Live {
  /**
   * @param {(signal: AbortSignal) => Promise<void>} run the request, and showing its answer
   * @param {(failure: Error, retryInS: number|null) => void} failed
   */
  constructor(run, failed) {
    Object.assign(this, { run, failed });
    this.retries = 0;
  }

  /** The input changed. */
  changed({ atOnce = false } = {}) {
    this.retries = 0;
    this.#after(atOnce ? 0 : PAUSE_MS);
  }

  stop() {
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  #after(delayMs) {
    this.stop(); // the server gives up the work of a request whose client has left
    this.timer = setTimeout(() => this.#go(), delayMs);
  }

  async #go() {
    const abort = new AbortController();
    this.abort = abort;
    try {
      await this.run(abort.signal);
      this.retries = 0;
    } catch (failure) {
      if (abort.signal.aborted) return;
      const wait = failure.retryAfterS ?? null;
      const again = wait !== null && this.retries < MOST_RETRIES;
      this.failed(failure, again ? wait : null);
      if (again) {
        this.retries += 1;
        this.#after(wait * 1000);
      }
    }
  }
}

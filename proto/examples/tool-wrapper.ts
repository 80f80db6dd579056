/**
 * A guard around a function: it runs only when Countersign permits the call. No dependencies. Node 22.18 and newer run this
 * file as it is; Node 20 needs it compiled.
 *
 * `guarded(client, {tool, action}, run)` asks for the verdict, waits for people if they must approve, calls `run` with the
 * params that were judged, and reports the outcome. Any doubt rejects with `NotPermitted`: then it did not run (P9).
 * The key has the roles enforcer and publisher. An agent that can run code in this process can call the function without its
 * guard: for such an agent, use a gateway in another process (gateway.py). An example is at the end.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
type Json = any;
/** What the running function must keep to: {retain_days: 30}. */
export type Obligations = Record<string, unknown>;
type Permit = { params: Json; obligations: Obligations; report: (outcome: string) => Promise<unknown> };
export type Options = {
  url: string; // https://<host>/v1/tenants/<tenant>
  key: string; agent: string; run?: string;
  acknowledges?: string[]; // names of the obligations that the functions keep
  asBefore?: (tool: string, action: string, params: Json) => boolean; // decides while the policies only observe
  answerWithin?: number; peopleWithin?: number; // seconds for a request, and for people
};

/** The function did not run. `code` is that of the verdict's reason, of the server's problem, or one of this file. */
export class NotPermitted extends Error {
  code: string;
  constructor(code: string, detail = "") {
    super(detail ? `${code}: ${detail}` : code);
    this.code = code;
  }
}

const SOURCE = "/tools/example";
const seconds = () => performance.now() / 1000;
const sleep = (time: number) => new Promise((done) => setTimeout(done, time * 1000));

export class Client {
  #options: Required<Omit<Options, "run">> & { run: string | null };
  constructor(options: Options) {
    this.#options = { run: null, acknowledges: [], asBefore: () => false, answerWithin: 30, peopleWithin: 600, ...options };
  }

  /** When the request was sent, and its answer. 429, 5xx and silence are repeated unchanged: every step is safe to repeat. */
  async ask(method: string, path: string, body?: Json, poll = 0): Promise<[number, Json]> {
    const headers = { Authorization: `Bearer ${this.#options.key}`, "Content-Type": "application/json" };
    const text = body === undefined ? null : JSON.stringify(body), deadline = seconds() + this.#options.answerWithin;
    for (;;) {
      const sent = seconds(), signal = AbortSignal.timeout(Math.ceil(Math.max(0.1, deadline - sent + poll) * 1000));
      // The key and the call go to `url` and nowhere else: a redirect is no answer.
      const init: RequestInit = { method, headers, body: text, signal, redirect: "error" };
      const answer = await fetch(this.#options.url + path, init).catch(() => undefined);
      const told: Json = await answer?.json().catch(() => undefined);
      if (answer?.ok && told !== undefined) return [sent, told];
      const isFinal = answer !== undefined && !answer.ok && answer.status < 500 && answer.status !== 429;
      if (isFinal) throw new NotPermitted(told?.code ?? `http_${answer.status}`, told?.detail);
      const pause = Number(answer?.headers.get("Retry-After")) || 1;
      if (seconds() + pause > deadline) throw new NotPermitted("unavailable", `no answer to ${method} ${path}`);
      await sleep(pause);
    }
  }

  /** The params to run with, the obligations, and how to report. Else NotPermitted. */
  async permit(tool: string, action: string, params: Json, tries = 3): Promise<Permit> {
    const { agent, run, acknowledges, asBefore } = this.#options, nonce = randomBytes(16).toString("base64url");
    // (source, id) names the question: a repetition gets the verdict that was recorded first.
    const question = { id: randomUUID(), source: SOURCE, nonce, agent: { id: agent, run: run ?? undefined }, tool: { name: tool, action }, params };
    let sent: number, told: Json;
    try {
      [sent, told] = await this.ask("POST", "/decisions", question);
    } catch (error) {
      // Its answers were lost for so long that the verdict counts no longer. Nothing ran, so ask anew.
      if (error instanceof NotPermitted && error.code === "decision_stale" && tries > 1) return this.permit(tool, action, params, tries - 1);
      throw error;
    }
    const { verdict, enforced, approval, obligations = {} } = told;
    const report = async (outcome: string) => {
      // What was told before it was in the log is there by now: the same question shows where.
      const { decision } = told.recorded === false ? (await this.ask("POST", "/decisions", question))[1] : told;
      return this.#report({ decision: { index: decision.index, leaf_hash: decision.leaf_hash }, outcome });
    };
    if (enforced === null) { // the policies only observe: decide as before
      if (asBefore(tool, action, params) === true) return { params, obligations: {}, report };
      throw new NotPermitted("only_observed", `the verdict ${verdict} permits nothing, and asBefore did not return true`);
    }
    if (enforced !== true || !["allow", "approval_needed"].includes(verdict)) throw new NotPermitted(told.reason.code, told.reason.message);
    const unknown = Object.keys(obligations).filter((name) => !acknowledges.includes(name));
    if (unknown.length > 0) {
      if (approval?.state === "pending") await this.ask("POST", `/approvals/${approval.id}/cancel`, { reason: "obligation_unknown" });
      throw new NotPermitted("obligation_unknown", unknown.join(", "));
    }
    if (verdict === "allow") {
      // It counts for `valid_for` seconds after the answer, which is not before the request was sent.
      if (!(seconds() < sent + told.valid_for)) throw new NotPermitted("too_late", "the allow counts no longer");
      return { params, obligations, report };
    }
    const path = `/approvals/${approval.id}`;
    const frozen = await this.#redeem(path, approval, { agent, run, tool, action, params, nonce });
    return { params: frozen.params, obligations, report: (outcome) => this.ask("POST", `${path}/execution`, { outcome }) };
  }

  /** Waits until people approved the call, and gets it released, once. */
  async #redeem(path: string, found: Json, call: Json): Promise<Json> {
    const deadline = seconds() + this.#options.peopleWithin;
    while (found.state === "pending" && seconds() < deadline) {
      const wait = Math.max(1, Math.min(30, Math.floor(deadline - seconds())));
      [, found] = await this.ask("GET", `${path}?wait=${wait}&after=${found.version ?? 0}`, undefined, wait);
    }
    if (found.state === "pending") {
      await this.ask("POST", `${path}/cancel`, { reason: "gave_up" });
      throw new NotPermitted("gave_up", "nobody answered in time");
    }
    if (!["granted", "minted"].includes(found.state)) throw new NotPermitted(found.state, found.detail ?? "people did not approve it");
    const [, { token }] = await this.ask("POST", `${path}/token`);
    const [, redeemed] = await this.ask("POST", "/tokens/redeem", { redemption_id: randomUUID(), call, token });
    return redeemed.call;
  }

  /** Publishes the execution of a call about which nobody was asked. */
  async #report(data: Json): Promise<void> {
    const names = { specversion: "1.0", type: "dev.countersign.execution.v1", id: randomUUID(), source: SOURCE };
    const event = { ...names, time: new Date().toISOString(), data };
    const [, { results: [result] }] = await this.ask("POST", "/events", event);
    if (!["posted", "duplicate"].includes(result.status)) throw new Error(JSON.stringify(result));
  }
}

type Run<P, R> = (params: P, obligations: Obligations) => R | Promise<R>;
export function guarded<P, R>(client: Client, { tool, action }: { tool: string; action: string }, run: Run<P, R>) {
  return async (given: P): Promise<R> => {
    let permit: Permit, outcome = "failed";
    try { // with a copy of the params, which nobody else can change
      permit = await client.permit(tool, action, JSON.parse(JSON.stringify(given)));
    } catch (error) {
      throw error instanceof NotPermitted ? error : new NotPermitted("not_understood", String(error));
    }
    try {
      const result = await run(permit.params, permit.obligations);
      outcome = "succeeded";
      return result;
    } finally { // it ran, and a lost report does not change that
      await permit.report(outcome).catch((error) => console.warn(`${tool} ${action}: ${outcome}, but the report was not taken: ${error}`));
    }
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { COUNTERSIGN_URL: url = "", COUNTERSIGN_KEY_FILE: file = "" } = process.env;
  const client = new Client({ url, key: readFileSync(file, "utf8").trim(), agent: "payments-bot" });
  const transfer = guarded(client, { tool: "payments", action: "transfer" }, (to: { amount: number; currency: string; reference: string }) =>
    `paid ${to.amount} ${to.currency} for ${to.reference}`);
  const [amount, currency = "", reference = ""] = process.argv.slice(2);
  console.log(await transfer({ amount: Number(amount), currency, reference }));
}

# The verdict of Countersign's policies, in Rego. Written by `countersign policy export-opa`: change the policies, not this.
# `decision` is for one call, `decisions` for `input.calls`. See proto/formats/opa-data.countersign.content.md.
package countersign

default allow := false

allow if decision.verdict == "allow"

decision := judge(input)

decisions := [judge(call) | some call in input.calls]

# A call with its facts. `p`: the params, which redaction changes.
scene(question) := {
	"q": question,
	"f": object.get(question, "facts", {}),
	"p": object.get(question, "params", null),
}

judge(question) := told(scene(question))

told(c) := denial("bad_input") if not is_well_formed(c)

else := denial("frozen") if object.get(c.f, "frozen", false) != false

else := denial(code) if code := refused(c)

else := judged(c, weighed(c))

denial(code) := {"verdict": "deny", "enforced": true, "reason": {"code": code, "clauses": []}, "policy": policy}

policy := {"version": data.countersign.content.version, "digest": data.countersign.content.digest}

# --- The input.

is_well_formed(c) if {
	is_object(c.q)
	is_object(c.f)
	is_int(now(c))
	is_name(c.q.agent.id)
	is_name(c.q.tool.name)
	is_name(c.q.tool.action)
	every path in optional_names {
		is_name_or_absent(object.get(c.q, path, null))
	}
	every path in [["agent", "chain"], ["context", "classes"], ["context", "third_parties"]] {
		are_names_or_absent(object.get(c.q, path, null))
	}
	are_labels(object.get(c.q, "labels", null))
	every path, known in known_members {
		has_known_members(object.get(c.q, path, null), known)
	}
}

optional_names := [
	["agent", "run"], ["agent", "session"], ["tool", "schema"],
	["context", "purpose"], ["context", "environment"], ["context", "region"],
	["cost", "amount"], ["cost", "currency"],
]

known_members := {
	"agent": {"id", "run", "session", "chain", "token"},
	"tool": {"name", "action", "schema"},
	"context": {"purpose", "environment", "region", "classes", "third_parties"},
}

has_known_members(null, _)

has_known_members(value, known) if {
	is_object(value)
	count(object.keys(value) - known) == 0
}

# Texts that may not be in Unicode's form NFC are refused: OPA can't normalize.
is_name(text) if {
	text_state(text) == "ok"
	text != ""
	is_short(text)
	not regex.match(`[\x00-\x1f\x7f-\x{9f}]`, text)
}

is_short(text) if count(text) <= 64

is_short(text) if {
	count(text) > 64
	bytes(text) <= 256
}

is_name_or_absent(null)

is_name_or_absent(text) if is_name(text)

are_names_or_absent(null)

are_names_or_absent(names) if {
	is_array(names)
	count(names) <= 64
	every name in names {
		is_name(name)
	}
}

are_labels(null)

are_labels(labels) if {
	is_object(labels)
	count(labels) <= 64
	every label in labels {
		is_name(label)
	}
}

now(c) := time.parse_rfc3339_ns(c.f.now)

# --- What denies whatever the clauses say.

refused(c) := "reserved_tool" if startswith(lower(c.q.tool.name), "countersign")

else := "unknown_agent" if not entry(c.q.agent.id)

else := "tool_not_listed" if {
	tools := entry(c.q.agent.id).tools
	count(tools) > 0
	not c.q.tool.name in tools
}

else := "schema_changed" if {
	known := data.countersign.content.tools[c.q.tool.name].actions[c.q.tool.action].schema
	sent := object.get(c.q.tool, "schema", null)
	sent != null
	sent != known
}

registered(id) := data.countersign.content.agents[id] if id != "*"

else := data.countersign.content.agents[spawner] if {
	id != "*"
	lengths := [count(prefix) | some prefix, _ in data.countersign.content.spawned; startswith(id, prefix)]
	some prefix, spawner in data.countersign.content.spawned
	startswith(id, prefix)
	count(prefix) == max(lengths)
}

entry(id) := registered(id) if true

else := data.countersign.content.agents["*"]

# True if a clause that names `who` means this agent.
is_meant(id, "*") if registered(id)

is_meant(id, "@unregistered") if {
	not registered(id)
	data.countersign.content.agents["*"]
}

is_meant(id, who) if {
	startswith(who, "@")
	who != "@unregistered"
	substring(who, 1, -1) in registered(id).groups
}

is_meant(id, id) if id != "*"

# --- The clauses for a call.

candidates(c) := data.countersign.content.by_tool[c.q.tool.name].by_action[c.q.tool.action] if true

else := data.countersign.content.by_tool[c.q.tool.name].other if true

else := data.countersign.content.other

is_for(clause, _) if {
	clause.agents == []
	not clause.then in {"allow", "approval_needed"}
}

is_for(clause, id) if {
	clause.agents == []
	is_meant(id, "*")
}

is_for(clause, id) if {
	some who in clause.agents
	is_meant(id, who)
}

weighed(c) := [{"i": i, "truth": truth_of(i, c), "in_force": in_force(data.countersign.content.clauses[i], c)} |
	some i in candidates(c)
	is_for(data.countersign.content.clauses[i], c.q.agent.id)
]

truth_of(i, c) := when(i, c) if true

else := "e"

in_force(clause, c) if clause.steps == null

else if {
	ns := now(c)
	steps := [step.percent | some step in clause.steps; is_now(step.until, ns)]
	share(clause, c.q.agent.id) < steps[0]
}

else := false

is_now(null, _)

is_now(until, ns) if ns < until

# The agent's place among 100, by a hash.
share(clause, id) := sum([part |
	some i in numbers.range(0, 7)
	digit := indexof("0123456789abcdef", substring(hash, i, 1))
	power := [268435456, 16777216, 1048576, 65536, 4096, 256, 16, 1][i]
	part := digit * power
]) % 100 if {
	quoted := replace(replace(id, `\`, `\\`), `"`, `\"`)
	hash := crypto.sha256(sprintf(`["countersign-share-v1","%s","%s","%s"]`, [clause.policy, clause.id, quoted]))
}

# --- The verdict.

judged(c, all) := object.union(outcome, {"enforced": enforced, "policy": policy}) if {
	observes := only_observes(c)
	counting := [w | some w in all; counts(w, observes)]
	matched := [data.countersign.content.clauses[w.i] | some w in all; w.in_force; w.truth == "t"]
	first := redacted(c, counting, decide(counting))
	after := limited(c, observes, first)
	outcome := shown(matched, observes, after)
	enforced := {true: null, false: true}[observes]
}

counts(w, _) if w.in_force

counts(_, true)

only_observes(c) := false if is_some_in_force(c)

else := count([1 | some clause in data.countersign.content.clauses; in_force(clause, c)]) == 0

is_some_in_force(_) if data.countersign.content.has_unconditional

# "x": OPA can't say what the clause says of this call. Then the clause denies.
decide(all) := verdict_of("deny", "not_in_opa", hits[0]) if hits := [w | some w in all; w.truth == "x"]

else := verdict_of("deny", denied_code(hits[0]), hits[0]) if hits := [w | some w in all; denies(w)]

else := verdict_of("approval_needed", "approval", hits[0]) if hits := [w | some w in all; w.truth == "t"; says(w, "approval_needed")]

else := verdict_of("allow", "allowed", hits[0]) if hits := [w | some w in all; w.truth == "t"; says(w, "allow")]

else := verdict_of("deny", "condition_error", hits[0]) if hits := [w | some w in all; w.truth == "e"]

else := {"verdict": "deny", "code": "no_clause", "clause": null, "message": null}

says(w, then) if data.countersign.content.clauses[w.i].then == then

denies(w) if {
	w.truth == "t"
	says(w, "deny")
}

denies(w) if {
	w.truth == "e"
	not says(w, "allow")
}

denied_code(w) := "denied" if w.truth == "t"

else := "condition_error"

verdict_of(verdict, code, w) := {"verdict": verdict, "code": code, "clause": clause.name, "message": message} if {
	clause := data.countersign.content.clauses[w.i]
	message := message_of(clause.message, code)
}

# Where a condition could not be judged, the clause's message would mislead.
message_of(message, code) := null if code in {"condition_error", "not_in_opa"}

else := message

# --- Redaction, and the verdict on the redacted call.

redacted(c, counting, first) := first if count(asking(counting)) == 0

else := judged_again(c, counting, first, redact(c, asking(counting)))

asking(counting) := [w.i | some w in counting; w.truth == "t"; says(w, "sanitize")]

judged_again(c, counting, first, change) := first if change.state == "none"

else := first if {
	change.state != "changed"
	first.verdict == "deny"
}

else := verdict_of("deny", {"e": "condition_error", "x": "not_in_opa"}[change.state], {"i": change.clause}) if change.state != "changed"

else := object.union(stricter(first, decide(again), change), {"params": change.params, "redactions": change.found}) if {
	changed := object.union(c, {"p": null})
	c2 := object.union(changed, {"p": change.params})
	again := [object.union(w, {"truth": truth_of(w.i, c2)}) | some w in counting; not says(w, "sanitize")]
}

strictness(verdict) := 2 if verdict == "deny"

else := 1 if verdict == "approval_needed"

else := 0

stricter(first, second, change) := second if strictness(second.verdict) > strictness(first.verdict)

else := first if first.verdict != "allow"

else := verdict_of("sanitize", "sanitized", {"i": i}) if i := change.by[0]

# --- Budgets and rates: what is booked, and whether a rate has a call left, are facts.

limited(c, observes, first) := first if observes

else := first if first.verdict == "deny"

else := limit_denial(hits[0], "condition_error") if {
	# More than 4 budgets are for the call.
	hits := [limit | some i, limit in budgets_for(c); i == 4]
}

else := limit_denial(hits[0], "condition_error") if {
	hits := [limit | some limit in budgets_for(c); not left(c, limit)]
}

else := limit_denial(hits[0], "budget_exceeded") if {
	hits := [limit | some limit in budgets_for(c); not limit.asks_people; left(c, limit) < 0]
}

else := rated(hits[0]) if {
	hits := [{"limit": limit, "code": code} | some limit in limits_for(c, data.countersign.content.rates); code := rate_code(c, limit)]
}

else := object.union(first, {"verdict": "approval_needed", "code": "budget_exceeded", "clause": hits[0].name, "message": hits[0].message}) if {
	hits := [limit | some limit in budgets_for(c); left(c, limit) < 0]
}

else := first

rated(hit) := limit_denial(hit.limit, hit.code)

limit_denial(limit, code) := {
	"verdict": "deny", "code": code, "clause": limit.name,
	"message": message_of(limit.message, code),
}

limits_for(c, limits) := [limit |
	some limit in limits
	limit.tool in {null, c.q.tool.name}
	is_one_of(limit.actions, c.q.tool.action)
	is_limit_for(limit, c.q.agent.id)
]

budgets_for(c) := limits_for(c, data.countersign.content.budgets)

is_one_of([], _)

is_one_of(names, name) if name in names

is_limit_for(limit, _) if limit.agents == []

is_limit_for(limit, id) if {
	some who in limit.agents
	is_meant(id, who)
}

# What is left of a budget after the call. Undefined: it can't be said.
left(c, limit) := (limit.max[spent.currency] - object.get(c.f, ["booked", limit.name], null)) - spent.sum if {
	spent := spent_of(c, limit)
	has_key(c, limit)
	object.get(c.f, ["windows", limit.window], null) != null
	is_number(object.get(c.f, ["booked", limit.name], null))
}

has_key(_, limit) if limit.per in {"agent", "all"}

has_key(c, limit) if object.get(c.q.agent, limit.per, null) != null

spent_of(c, limit) := {"sum": 1, "currency": ""} if limit.sum == "calls"

else := {"sum": sum, "currency": currency} if {
	limit.sum == "cost"
	currency := c.q.cost.currency
	limit.max[currency]
	sum := millionths(c.q.cost.amount)
}

else := {"sum": sum, "currency": currency} if {
	limit.sum == "minor"
	amount := amount_of(limit.name, c)
	currency := amount.currency
	limit.max[currency]
	sum := amount.minor
	is_whole(sum)
	sum >= 0
}

# A decimal text in millionths, rounded up.
millionths(text) := sum if {
	is_string(text)
	regex.match(`^(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?$`, text)
	parts := array.concat(split(text, "."), [""])
	kept := substring(concat("", [parts[1], "000000"]), 0, 6)
	sum := ((to_number(parts[0]) * 1000000) + whole_of(kept)) + rounded(substring(parts[1], 6, -1))
	sum <= 9007199254740991
}

whole_of(digits) := sum([part |
	some i in numbers.range(0, 5)
	power := [100000, 10000, 1000, 100, 10, 1][i]
	part := to_number(substring(digits, i, 1)) * power
])

rounded(rest) := 1 if regex.match(`[1-9]`, rest)

else := 0

rate_code(c, limit) := "condition_error" if not has_key(c, limit)

else := "condition_error" if not object.get(c.f, ["rates", limit.name], null) in {true, false}

else := "rate_limited" if c.f.rates[limit.name] == false

# --- What is told.

shown(matched, observes, after) := object.union_n([
	{"verdict": after.verdict, "reason": object.union({"code": after.code, "clauses": [clause.name | some clause in matched]}, filled({"clause": after.clause, "message": after.message}))},
	changed_call(after, observes),
	obligations(matched, after),
])

filled(members) := {name: value | some name, value in members; value != null}

changed_call(after, observes) := {"call": {"params": after.params}, "redactions": after.redactions} if {
	not observes
	after.verdict != "deny"
	after.params != null
}

else := {}

# If clauses differ about one, its value is the list of theirs.
obligations(matched, after) := {} if after.verdict == "deny"

else := {} if count(names_of(matched)) == 0

else := {"obligations": {name: merged_values(values) |
	some name in names_of(matched)
	values := [value | some clause in matched; value := clause.obligations[name]]
}}

names_of(matched) := {name | some clause in matched; some name, _ in clause.obligations}

merged_values(values) := values[0] if count({value | some value in values}) == 1

else := [value | some i, value in values; not value in array.slice(values, 0, i)]

# Conditions: each is "t" (true), "f" (false), "e" (an error) or "x" (OPA can't say).
package countersign

all3(parts) := "f" if "f" in parts

else := "x" if "x" in parts

else := "e" if "e" in parts

else := "t"

any3(parts) := "t" if "t" in parts

else := "x" if "x" in parts

else := "e" if "e" in parts

else := "f"

not3(part) := {"t": "f", "f": "t", "e": "e", "x": "x"}[part]

checked(checks) := "f" if false in checks

else := "t"

# --- Values.

# "ok": a text in Unicode's form NFC. "e": no text, or not NFC. "x": OPA can't say.
text_state(value) := "e" if not is_string(value)

else := "ok" if regex.match(`^[\x00-\x{2ff}\x{400}-\x{481}\x{2010}-\x{2027}\x{20ac}\x{3041}-\x{3093}\x{30a1}-\x{30f6}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}\x{1f300}-\x{1f64f}]*$`, value)

else := "e" if regex.match(`[aeiouAEIOU][\x{300}\x{301}\x{308}]`, value)

else := "x"

bytes(text) := ((count(text) + over(text, `[\x{80}-\x{10ffff}]`)) + over(text, `[\x{800}-\x{10ffff}]`)) + over(text, `[\x{10000}-\x{10ffff}]`)

over(text, class) := count(regex.find_n(class, text, -1))

# A whole number below 2^53.
is_whole(value) if {
	is_number(value)
	floor(value) == value
	abs(value) <= 9007199254740991
}

is_int(value) if {
	is_number(value)
	floor(value) == value
}

characters(value) := count(value) if is_string(value)

else := 0

elements(value) := count(value) if is_array(value)

else := 0

# A decimal text as a text that compares as the numbers do: a sign, and 18 digits on each side of the point.
decimal(value) := concat("", ["1", digits]) if {
	digits := decimal_digits(value)
	is_not_negative(value, digits)
}

else := concat("", ["0", concat("", [nines[digit] | some digit in split(digits, "")])]) if digits := decimal_digits(value)

else := ""

is_not_negative(value, _) if not startswith(value, "-")

is_not_negative(_, digits) if not regex.match(`[1-9]`, digits)

nines := {"0": "9", "1": "8", "2": "7", "3": "6", "4": "5", "5": "4", "6": "3", "7": "2", "8": "1", "9": "0"}

decimal_digits(value) := concat("", [zeros_before, parts[0], parts[1], zeros_after]) if {
	is_string(value)
	regex.match(`^-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?$`, value)
	parts := array.concat(split(trim_left(value, "-"), "."), [""])
	zeros_before := substring("000000000000000000", 0, 18 - count(parts[0]))
	zeros_after := substring("000000000000000000", 0, 18 - count(parts[1]))
}

# --- Pointers. `null`: absent. An empty set: a step meets a value of another type.

step(null, _) := null

step(value, name) := object.get(value, name, null) if is_object(value)

step(value, name) := element(value, name) if is_array(value)

step(value, _) := set() if {
	value != null
	not is_object(value)
	not is_array(value)
}

element(list, name) := list[to_number(name)] if regex.match(`^(?:0|[1-9][0-9]{0,8})$`, name)

else := null if regex.match(`^(?:0|[1-9][0-9]{0,18})$`, name)

else := set()

each_step(values, name) := [step(value, name) | some value in values] if is_array(values)

else := set()

each(values) := set() if {
	some value in values
	value != null
	not is_array(value)
}

else := set() if count(flat(values)) > 10000

else := flat(values) if is_array(values)

else := set()

# All that a pointer reaches. An empty set: one step met a value of another type.
reach_all(values) := set() if set() in values

else := values

any_of(values, parts) := any3(parts) if is_array(values)

else := "e"

all_of(values, parts) := all3(parts) if is_array(values)

else := "e"

flat(values) := [one | some value in values; some one in spread(value)]

spread(null) := [null]

spread(value) := value if is_array(value)

# --- Params.

param(value, presence, optional, truth) := "e" if value == set()

else := {"present": "f", "absent": "t", "": absent_as(optional)}[presence] if value == null

else := "f" if presence == "absent"

else := truth

absent_as(true) := "f"

absent_as(false) := "e"

whole(value, checks) := checked(checks) if is_whole(value)

else := "e"

decimals(value, checks) := "e" if decimal(value) == ""

else := checked(checks)

length(value, checks) := checked(checks) if text_state(value) == "ok"

else := text_state(value)

items(value, checks) := checked(checks) if is_array(value)

else := "e"

elements_all(value, truths) := all3(truths) if is_array(value)

else := "e"

one_of(value, wanted) := text_state(value) if {
	is_string(value)
	has_kind(wanted, "string")
	text_state(value) != "ok"
}

else := "e" if not has_kind(wanted, type_name(value))

else := "t" if value in wanted

else := "f"

has_kind(wanted, kind) if {
	some one in wanted
	type_name(one) == kind
}

matches(value, pattern) := text_state(value) if text_state(value) != "ok"

else := "t" if regex.match(pattern, value)

else := "f"

# --- Sets of texts: written out, or a list.

in_set(_, _, null) := "e"

in_set(c, set, text) := listed(c, set.list, text) if {
	text != null
	set.list
}

in_set(_, set, text) := checked([text in set.of]) if {
	text != null
	set.of
}

# Whether a list has an item: the list of the input, or else that of the bundle. It is never read as a whole: it may be long.
listed(c, name, text) := checked([text in given]) if {
	given := object.get(c.f, ["lists", name], null)
	given != null
}

else := "t" if data.countersign.content.lists[name][text]

else := "f" if name in data.countersign.content.list_names

else := "e"

listed_text(c, name, value) := text_state(value) if text_state(value) != "ok"

else := listed(c, name, value)

named(c, path, set) := in_set(c, set, object.get(c.q, path, null))

all_named(c, path, set) := "e" if object.get(c.q, path, null) == null

else := all3([in_set(c, set, one) | some one in object.get(c.q, path, null)])

# --- Money.

money(minor, currency, by_currency) := checked(by_currency[currency]) if {
	is_whole(minor)
	minor >= 0
}

else := "e"

# --- Time.

hours(c, when_) := "e" if object.get(c.f, ["local", when_.zone], null) == null

else := hours_at(c, when_, c.f.local[when_.zone])

hours_at(c, when_, local) := day(c, when_, local, 0) if {
	when_.from < when_.to
	local.minute >= when_.from
	local.minute < when_.to
}

else := "f" if when_.from < when_.to

else := day(c, when_, local, 0) if local.minute >= when_.from

else := day(c, when_, local, 1) if local.minute < when_.to

else := "f"

day(c, when_, local, back) := checked([is_named_day(when_, local, back, date)]) if {
	date := date_of(local, back)
	when_.holidays == null
}

else := {"t": "f", "e": "e", "f": checked([is_named_day(when_, local, back, date)])}[listed(c, when_.holidays, date)] if {
	date := date_of(local, back)
	when_.holidays != null
}

else := "e"

is_named_day(when_, local, back, date) := false if date in when_.except

else := when_.days[((local.weekday + 7) - back) % 7]

date_of(local, back) := sprintf("%04d-%02d-%02d", time.date(time.parse_ns("2006-01-02", local.date) - (back * 86400000000000)))

# --- Agents.

chain(c, holds) := "e" if not is_sound_chain(chain_of(c), c.q.agent.id)

else := checked(holds)

chain_of(c) := object.get(c.q, ["agent", "chain"], [])

is_sound_chain(agents, id) if {
	count(agents) >= 1
	count(agents) <= 16
	agents[count(agents) - 1] == id
	count({agent | some agent in agents}) == count(agents)
}

before(c) := array.slice(chain_of(c), 0, count(chain_of(c)) - 1)

is_within(id, names) if {
	some who in names
	is_meant(id, who)
}

all_within(agents, names) := count([1 | some agent in agents; not is_within(agent, names)]) == 0

any_within(agents, names) := count([1 | some agent in agents; is_within(agent, names)]) > 0

none_within(agents, names) := count([1 | some agent in agents; is_within(agent, names)]) == 0

is_verified(c) := object.get(c.f, "verified", false) == true

verified(c) := checked([is_verified(c)])

tier(c, at_most) := "e" if not rank(data.countersign.content.tools[c.q.tool.name].tier)

else := "e" if not rank(tier_of(c, at_most))

else := checked([rank(data.countersign.content.tools[c.q.tool.name].tier) <= rank(tier_of(c, at_most))])

tier_of(c, at_most) := at_most if at_most != null

else := entry(c.q.agent.id).tier

rank(name) := [i | some i, tier in data.countersign.content.tiers; tier == name][0]

agent_region(c, set) := in_set(c, set, region) if region := entry(c.q.agent.id).region

else := "e"

tool_region(c, set) := in_set(c, set, region) if region := data.countersign.content.tools[c.q.tool.name].region

else := "e"

effect(c, wanted) := checked([known == wanted]) if known := data.countersign.content.tools[c.q.tool.name].actions[c.q.tool.action].effect

else := "e"

# --- Digests.

digest(c, set, value) := text_state(value) if text_state(value) != "ok"

else := in_set(c, set, found) if found := regex.find_all_string_submatch_n(`(?s)^(?:.*@)?(sha256:[0-9a-f]{64})$`, value, 1)[0][1]

else := "e"

# --- Where a call may send.

egress(of, urls) := all3(array.concat(method_of(of), [all3(those) | some those in urls]))

method_of(of) := [] if of.method == null

else := [text_state(of.method.value)] if text_state(of.method.value) != "ok"

else := [checked([of.method.value in of.method.names])]

urls_of(c, of, values) := ["e"] if not is_array(values)

else := [url(c, of, value) | some value in values]

url(c, of, text) := "e" if not url_parts(text)

else := all3([checked(url_checks(of, url_parts(text))), host(c, of.hosts, url_parts(text).host)])

url_checks(of, parts) := [
	parts.scheme in of.schemes,
	is_port(of.ports, parts),
	is_path(of.paths, parts.path),
]

is_port([], parts) := parts.port == {"https": 443, "http": 80}[parts.scheme]

is_port(ports, parts) := parts.port in ports if ports != []

is_path([], _) := true

is_path(patterns, path) := count([1 | some pattern in patterns; fits_path(pattern, path)]) > 0 if patterns != []

fits_path(pattern, path) if {
	endswith(pattern, "*")
	startswith(path, trim_suffix(pattern, "*"))
}

fits_path(pattern, pattern) if not endswith(pattern, "*")

host(_, hosts, name) := checked([count([1 | some pattern in hosts.of; fits_host(pattern, name)]) > 0]) if hosts.of

host(c, hosts, name) := any3([listed(c, hosts.list, one) | some one in array.concat([name], parents(name))]) if hosts.list

fits_host(name, name)

fits_host(pattern, name) if pattern in parents(name)

# *.bank.example is one or more labels before bank.example.
parents(name) := [concat("", ["*.", concat(".", array.slice(labels, i, count(labels)))]) |
	labels := split(name, ".")
	some i in numbers.range(1, count(labels) - 1)
]

# A URL, taken apart. Undefined: it has not one reading.
url_parts(text) := {"scheme": scheme, "host": host, "port": port, "path": path} if {
	is_string(text)
	count(text) <= 4096
	regex.match(`^[!-~]+$`, text)
	not regex.match(`[\\#]`, text)
	found := regex.find_all_string_submatch_n(`^([Hh][Tt][Tt][Pp][Ss]?)://([^/?@\[\]%:]*)(:[1-9][0-9]{0,4})?(/[^?]*)?(?:\?.*)?$`, text, 1)[0]
	scheme := lower(found[1])
	host := trim_suffix(lower(found[2]), ".")
	is_host(host)
	port := port_of(found[3], scheme)
	port <= 65535
	path := path_of(found[4])
}

is_host(text) if {
	count(text) <= 253
	regex.match(`^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9_-]{0,61}[a-z0-9_])?$`, text)
}

port_of("", scheme) := {"https": 443, "http": 80}[scheme]

port_of(text, _) := to_number(substring(text, 1, -1)) if text != ""

path_of("") := "/"

path_of(text) := path if {
	text != ""
	not regex.match(`%(?:[^0-9A-Fa-f]|[0-9A-Fa-f][^0-9A-Fa-f]|[0-9A-Fa-f]?$)`, text)
	not regex.match(`%(?:2[Ff5]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])`, text)
	not regex.match(`%[89A-Fa-f]`, regex.replace(text, utf8, "u"))
	path := urlquery.decode(replace(text, "+", "%2B"))
	not contains(path, ";")
	segments := split(path, "/")
	not "" in array.slice(segments, 1, count(segments) - 1)
	not "." in segments
	not ".." in segments
}

# Characters beyond ASCII, as a URL writes them.
utf8 := concat("", [
	`%(?:[Cc][2-9A-Fa-f]|[Dd][0-9A-Fa-f])%[89ABab][0-9A-Fa-f]`,
	`|%[Ee]0%[ABab][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]`,
	`|%[Ee][1-9A-Ca-cEeFf](?:%[89ABab][0-9A-Fa-f]){2}`,
	`|%[Ee][Dd]%[89][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]`,
	`|%[Ff]0%[9ABab][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}`,
	`|%[Ff][1-3](?:%[89ABab][0-9A-Fa-f]){3}`,
	`|%[Ff]4%8[0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}`,
])

# What detectors find, and what is put in its place. Exact for e-mail addresses, IBANs, cards, US social security numbers and
# own detectors without words. Of the others only what can't be there is known: otherwise "x".
package countersign

# What the clauses `ask` redact in the params. `state`: none, changed, e (an error) or x.
redact(c, ask) := {"state": "e", "clause": ask[0]} if {
	some i in ask
	some values in reached(i, c)
	values == set()
}

else := {"state": "x", "clause": ask[0]} if is_bare(c.p)

else := {"state": "x", "clause": ask[0]} if "x" in states(findings(c, ask))

else := {"state": "e", "clause": ask[0]} if "e" in states(findings(c, ask))

else := {"state": "none"} if count(findings(c, ask)) == 0

else := {"state": "x", "clause": ask[0]} if sum([count(one.spans) | some one in findings(c, ask)]) > 2000

else := {"state": "changed", "params": params, "found": found, "by": by} if {
	all := findings(c, ask)
	params := json.patch(c.p, [{"op": "replace", "path": one.at, "value": one.after} | some one in all])
	found := [{"at": one.at, "detector": detector, "spans": spans} |
		some one in all
		some detector in detector_order
		spans := [span.bytes | some span in one.spans; span.detector == detector]
		count(spans) > 0
	]
	clauses := {i | some one in all; some span in one.spans; some i in one.wanted[span.detector].by}
	by := sort([i | some i in clauses])
}

# Params that are no object and no list: one text, or one number.
is_bare(params) if is_string(params)

is_bare(params) if is_number(params)

states(all) := {one.state | some one in all}

# Each text, number and name of a member in which something is found, or may be.
findings(c, ask) := [one |
	some path, value
	walk(c.p, [path, value])
	count(path) > 0
	wanted := wanted_at(path, ask)
	count(wanted) > 0
	one := finding(path, value, wanted)
]

finding(path, value, wanted) := {"state": state, "spans": []} if {
	name := path[count(path) - 1]
	is_string(name)
	found := find(name, "", object.keys(wanted))
	state := name_state(found)
	state != "none"
}

else := text_finding(path, value, wanted, value) if is_string(value)

else := text_finding(path, value, wanted, format_int(value, 10)) if {
	is_int(value)
	abs(value) >= 10000000
}

name_state({"x": true, "spans": _}) := "x"

name_state({"x": false, "spans": spans}) := "none" if spans == []

name_state({"x": false, "spans": spans}) := "e" if spans != []

text_finding(path, value, wanted, text) := {"state": "x", "spans": []} if {
	is_string(value)
	is_opened(text)
}

else := {"state": "x", "spans": []} if find(text, label_of(path), object.keys(wanted)).x

else := after_redaction(path, wanted, text, merged(find(text, label_of(path), object.keys(wanted)).spans))

after_redaction(path, wanted, text, spans) := left_finding(find(after, label_of(path), object.keys(wanted)), {
	"at": concat("", [concat("", ["/", replace(replace(sprintf("%v", [name]), "~", "~0"), "/", "~1")]) | some name in path]),
	"after": after, "wanted": wanted,
	"spans": [object.union(span, {"bytes": [bytes(substring(text, 0, span.start)), bytes(substring(text, 0, span.end))]}) | some span in spans],
}) if {
	count(spans) > 0
	every span in spans {
		not wanted[span.detector].token
	}
	after := concat("", array.concat([piece |
		some i, span in spans
		some piece in [substring(text, end_before(spans, i), span.start - end_before(spans, i)), sprintf("[REDACTED:%s]", [span.detector])]
	], [substring(text, spans[count(spans) - 1].end, -1)]))
}

else := {"state": "x", "spans": []} if count(spans) > 0

# Otherwise the call that people see would still hold some of it.
left_finding(found, one) := {"state": "x", "spans": []} if found.x

else := {"state": "e", "spans": []} if found.spans != []

else := object.union(one, {"state": "changed"})

end_before(_, 0) := 0

end_before(spans, i) := spans[i - 1].end if i > 0

# The name of the member; and as long as that says nothing of its value, the name of what holds it too.
label_of(path) := concat(" ", array.slice(names, first, count(names))) if {
	names := [name | some name in path; is_string(name)]
	first := max(array.concat([0], [i | some i, name in names; not lower(name) in empty_names]))
}

empty_names := {
	"value", "values", "val", "number", "num", "nr", "no", "text", "raw", "data", "content",
	"#text", "@value", "$t",
}

# Which detectors are asked for at a place, by which clauses, and whether by tokens alone.
wanted_at(path, ask) := {detector: {"by": by, "token": token} |
	some detector in {detector | some i in ask; some item in data.countersign.content.clauses[i].redact; covers(item.steps, path); some detector in item.detect}
	by := {i | some i in ask; some item in data.countersign.content.clauses[i].redact; detector in item.detect; covers(item.steps, path)}
	token := count([1 | some i in ask; some item in data.countersign.content.clauses[i].redact; detector in item.detect; covers(item.steps, path); not item.token]) == 0
}

covers(steps, path) if {
	count(steps) <= count(path)
	every i, one in steps {
		is_step(one, sprintf("%v", [path[i]]))
	}
}

is_step({"each": true}, name) if regex.match(`^[0-9]*$`, name)

is_step({"member": name}, name)

# --- Conditions.

# True if one of the detectors finds something below a pointer.
detects(c, steps, names, optional, values) := "e" if values == set()

else := "e" if {
	not optional
	null in values
}

else := "x" if is_bare(c.p)

else := detected({one.state | some one in below(c, steps, names)})

detected(all) := "x" if "x" in all

else := "e" if "e" in all

else := "t" if "changed" in all

else := "f"

below(c, steps, names) := [one |
	some path, value
	walk(c.p, [path, value])
	count(path) > 0
	covers(steps, path)
	one := finding(path, value, {name: {"by": {0}, "token": false} | some name in names})
]

# --- Texts.

# True if the text may be JSON, base64 or a form, into which OPA does not look; or has characters that are read otherwise.
is_opened(text) if startswith(text, "\ufeff")

is_opened(text) if regex.match(`^[ \t\r\n]*["{\[]`, text)

is_opened(text) if regex.match(`[\\\x{a0}\x{1b}\x{9b}]|%[0-9A-Fa-f]{2}`, text)

is_opened(text) if regex.match(`^[ \t\r\n]*[^\x00-\x20]*=[^\x00-\x20]*[ \t\r\n]*$`, text)

is_opened(text) if {
	regex.match(`^[ \t\r\n]*[A-Za-z0-9+/_=-]{16,}[ \t\r\n]*$`, text)
	not is_unreadable(trim(text, " \t\r\n="))
}

# True if it is base64 of no text: neither UTF-8, nor with enough readable characters in a row as UTF-16 or as single bytes. One
# character beyond the last whole byte says nothing.
is_unreadable(text) if {
	beyond := [0, 1, 0, 0][count(text) % 4]
	padded := concat("", [substring(text, 0, count(text) - beyond), ["", "", "==", "="][count(text) % 4]])
	bytes_ := hex.encode(base64.decode(replace(replace(padded, "-", "+"), "_", "/")))
	not regex.match(utf8_bytes, bytes_)
	not regex.match(`^(?:..)*?(?:00(?:[2-6].|7[0-9a-e])){6}`, bytes_)
	not regex.match(`^(?:..)*?(?:(?:[2-6].|7[0-9a-e])00){6}`, bytes_)
	not are_single(bytes_)
}

utf8_bytes := concat("", [
	`^(?:[0-7].|(?:c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|e[1-9a-cef][89ab].[89ab].|ed[89].[89ab].`,
	`|f0[9ab].[89ab].[89ab].|f[1-3][89ab].[89ab].[89ab].|f48.[89ab].[89ab].)*$`,
])

# True if bytes are a text of single bytes, with few control characters.
are_single(bytes_) if {
	regex.match(`^(?:..)*?(?:[2-6].|7[0-9a-e]){6}`, bytes_)
	controls := regex.replace(bytes_, `(0[0-8bcef]|1.|7f)|..`, "$1")
	count(controls) / 2 <= floor(count(bytes_) / 32) + 1
}

# What detectors find: spans in characters, and whether OPA can't say what they find.
find(text, label, names) := {"x": "x" in doubts, "spans": spans} if {
	all := {name: found_by(name, text, label) | some name in names}
	doubts := {"x" | some _, found in all; found.x}
	spans := [object.union(span, {"detector": name}) | some name, found in all; some span in found.spans]
}

found_by("email", text, _) := emails(text)

found_by("iban", text, _) := ibans(text)

found_by("card", text, _) := cards(text)

found_by("us-ssn", text, label) := ssns(text, label)

found_by(name, text, _) := own(data.countersign.content.own[name], text)

found_by(name, text, label) := {"x": true, "spans": []} if may_hold(data.countersign.content.doubts[name], text, label)

else := {"x": false, "spans": []} if data.countersign.content.doubts[name]

may_hold(doubt, text, label) if {
	regex.match(doubt.text, text)
	regex.match(doubt.words, lower(concat(" ", [text, label])))
}

# Of spans that overlap, the earlier gives the name, then the longer, then the first in the order of the set.
merged(spans) := [{"start": leader.start, "end": end, "detector": leader.detector} |
	ordered := [one.span | some one in sort([{"a": [span.start, 0 - span.end, order_of[span.detector]], "span": span} | some span in spans])]
	some i, leader in ordered
	is_leader(ordered, i)
	next := min(array.concat([j | some j, _ in ordered; j > i; is_leader(ordered, j)], [count(ordered)]))
	end := max([span.end | some span in array.slice(ordered, i, next)])
]

is_leader(ordered, i) if count([1 | some before_ in array.slice(ordered, 0, i); before_.end > ordered[i].start]) == 0

detector_order := data.countersign.content.detectors

order_of := {name: i | some i, name in data.countersign.content.detectors}

# What a pattern finds from left to right, with the place of each.
pieces(pattern, text) := [{"start": start, "end": start + count(match), "text": match} |
	all := regex.find_n(pattern, text, -1)
	between := regex.split(pattern, text)
	some i, match in all
	start := sum([count(one) | some one in array.slice(all, 0, i)]) + sum([count(one) | some one in array.slice(between, 0, i + 1)])
]

char(text, at) := substring(text, at, 1) if at >= 0

else := ""

is_alnum(one) if regex.match(`^[A-Za-z0-9]$`, one)

is_digit(one) if regex.match(`^[0-9]$`, one)

# What fails the check may hold something that begins within it.
own(detector, text) := {"x": count(sound) < count(all), "spans": sound} if {
	all := pieces(detector.pattern, text)
	sound := [piece | some piece in all; is_sound(detector.check, piece.text)]
}

is_sound("none", _)

is_sound("luhn", text) if luhn([to_number(digit) | some digit in regex.find_n(`[0-9]`, text, -1)])

luhn(digits) if sum([luhn_part(digit, (count(digits) - 1) - i) | some i, digit in digits]) % 10 == 0

luhn_part(digit, place) := digit if place % 2 == 0

else := (digit * 2) - 9 if digit > 4

else := digit * 2

# --- E-mail addresses.

emails(text) := {"x": true, "spans": []} if {
	contains(text, "@")
	regex.match(`[^\x00-\x7f][A-Za-z0-9._%+'-]*@|@[A-Za-z0-9.-]*[^\x00-\x7f]|@[A-Za-z0-9._%+'-]*@`, text)
}

else := {"x": false, "spans": [span | some piece in pieces(`[A-Za-z0-9._%+'-]+@[A-Za-z0-9.-]+`, text); span := address(text, piece)]} if {
	not is_long_address(text)
}

else := {"x": true, "spans": []}

is_long_address(text) if regex.match(`[A-Za-z0-9._%+'-]{65}@|@[A-Za-z0-9.-]{255}`, text)

address(text, piece) := {"start": start, "end": end} if {
	parts := split(piece.text, "@")
	local := trim_left(parts[0], ".'-+%")
	domain := trim_right(parts[1], ".-")
	local != ""
	not endswith(local, ".")
	start := piece.start + (count(parts[0]) - count(local))
	end := (((piece.start + count(parts[0])) + 1) + count(domain))
	regex.match(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]{0,58}[A-Za-z0-9])$`, domain)
	not regex.match(`^[0-9][^.]*\.(?:png|jpg|jpeg|gif|svg|webp|pdf)$`, domain)
	not is_repository(local, char(text, end))
}

is_repository("git", next) if next in {":", "/"}

# --- Numbers: groups of digits with single separators between.

runs(text) := pieces(`[0-9]+(?:[-. ][0-9]+)*`, text)

groups(piece) := [{"start": piece.start + one.start, "end": piece.start + one.end, "text": one.text} | some one in pieces(`[0-9]+`, piece.text)]

begins(text, at) if not is_alnum(char(text, at - 1))

ends(text, at) if not is_alnum(char(text, at))

cards(text) := {"x": count(found) != count({span.piece | some span in found}), "spans": [{"start": span.start, "end": span.end} | some span in found]} if {
	found := [span | some piece in runs(text); some span in cards_in(text, piece)]
}

cards_in(text, piece) := {{"start": first.start, "end": last.end, "piece": piece.start} |
	all := groups(piece)
	some i, first in all
	begins(text, first.start)
	some size in {1, 4, 5, 3}
	these := array.slice(all, i, i + size)
	count(these) == size
	last := these[size - 1]
	ends(text, last.end)
	is_grouped(text, [count(one.text) | some one in these], i, first.start, {char(text, one.end) | some one in array.slice(these, 0, size - 1)})
	is_card(concat("", [one.text | some one in these]))
}

is_grouped(text, sizes, i, start, _) if {
	count(sizes) == 1
	sizes[0] >= 13
	not is_fraction(text, i, start)
}

is_grouped(_, sizes, _, _, separators) if {
	sizes in {[4, 4, 4, 4, 3], [4, 4, 4, 4, 2], [4, 4, 4, 4, 1], [4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 4, 3]}
	count(separators) == 1
}

is_fraction(text, i, start) if {
	i > 0
	char(text, start - 1) == "."
}

is_card(digits) if {
	regex.match(issuers, digits)
	not regex.match(same_digits, digits)
	luhn([to_number(digit) | some digit in split(digits, "")])
	not is_article(digits)
}

same_digits := `^(?:0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)$`

issuers := concat("|", [
	`^4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})$`,
	`^(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}$`,
	`^3[47][0-9]{13}$`,
	`^(?:6011|352[89]|35[3-8][0-9]|220[0-4])[0-9]{12,15}$`,
	`^(?:64[4-9]|62[0-9]|65[0-9])[0-9]{13,16}$`,
	`^(?:36|38|39|30[0-5])[0-9]{11,17}$`,
	`^(?:5018|5020|5038|5893|6304|6759|6761|6762|6763)[0-9]{9,15}$`,
])

is_article(digits) if {
	count(digits) == 13
	weights := [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]
	sum([part | some i, digit in split(digits, ""); part := to_number(digit) * weights[i]]) % 10 == 0
}

ssns(text, label) := {"x": true, "spans": []} if {
	regex.match(`ssn|ss#|soc`, lower(concat(" ", [text, label])))
	regex.match(`[0-9]{9}|[0-9]{3}[. ][0-9]{2}[. ][0-9]{4}`, text)
}

else := {"x": false, "spans": [span |
	some piece in runs(text)
	all := groups(piece)
	some i, first in all
	these := array.slice(all, i, i + 3)
	[count(one.text) | some one in these] == [3, 2, 4]
	char(text, first.end) == "-"
	char(text, these[1].end) == "-"
	span := {"start": first.start, "end": these[2].end}
	begins(text, span.start)
	ends(text, span.end)
	not is_joined(text, span.start - 1, span.start - 2)
	not is_joined(text, span.end, span.end + 1)
	is_ssn(concat("", [one.text | some one in these]))
]}

is_joined(text, at, beyond) if {
	char(text, at) in {"-", ".", "/", "+"}
	is_digit(char(text, beyond))
}

is_ssn(digits) if {
	not regex.match(`^(?:000|666|9)|^.{3}00|0000$`, digits)
	not digits in {"078051120", "219099999"}
}

# --- IBANs.

ibans(text) := {"x": is_doubtful(found), "spans": found} if {
	found := [span | some word in pieces(`[A-Za-z0-9]+`, text); span := iban(text, word.start)]
}

is_doubtful(found) := count([1 | some i, one in found; some j, other in found; i < j; other.start < one.end]) > 0

iban(text, start) := {"start": start, "end": end} if {
	head := upper(substring(text, start, 2))
	length_ := data.countersign.content.ibans[head]
	written := regex.find_n(sprintf(`^[A-Za-z]{2}(?:[-. ]?[A-Za-z0-9]){%d}`, [length_ - 2]), substring(text, start, 70), 1)[0]
	end := start + count(written)
	ends(text, end)
	compact := upper(regex.replace(written, `[-. ]`, ""))
	regex.match(`^[A-Z]{2}[0-9]{2}`, compact)
	mod97(concat("", [substring(compact, 4, -1), substring(compact, 0, 4)])) == 1
}

mod97(text) := sum([part | some i, digit in digits; part := to_number(digit) * powers97[(count(digits) - 1) - i]]) % 97 if {
	digits := split(concat("", [valued(one) | some one in split(text, "")]), "")
}

valued(one) := one if is_digit(one)

else := format_int(indexof("ABCDEFGHIJKLMNOPQRSTUVWXYZ", one) + 10, 10)

# 10 to the power of the place, modulo 97.
powers97 := [1, 10, 3, 30, 9, 90, 27, 76, 81, 34, 49, 5, 50, 15, 53, 45, 62, 38, 89, 17, 73, 51, 25, 56, 75, 71, 31, 19, 93, 57, 85, 74, 61, 28, 86, 84, 64, 58, 95, 77, 91, 37, 79, 14, 43, 42, 32, 29, 96, 87, 94, 67, 88, 7, 70, 21, 16, 63, 48, 92, 47, 82, 44, 52, 35, 59, 8, 80, 24, 46, 72, 41, 22, 26, 66, 78, 4, 40, 12, 23]

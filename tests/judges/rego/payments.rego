# The payments policy, as somebody writes it who has only Rego: rules that OPA can index.
package hand

default decision := "deny"

decision := "allow" if {
	is_ours
	input.params.amount >= {"EUR": 1, "USD": 1}[input.params.currency]
	input.params.amount <= small
}

decision := "approval_needed" if {
	is_ours
	input.params.amount > small
	input.params.amount <= {"EUR": 2500000, "USD": 2750000}[input.params.currency]
}

small := {"EUR": 100000, "USD": 110000}[input.params.currency]

is_ours if {
	input.agent.id in {"payments-bot", "invoices-bot"}
	input.tool.name == "payments"
	input.tool.action in {"transfer", "payout"}
	regex.match(`^INV-[0-9]{6}$`, input.params.reference)
}

# The daily-budget policy, as somebody writes it who has only Rego.
package hand

default decision := "deny"

decision := "allow" if {
	input.tool.name == "llm"
	input.tool.action == "complete"
	input.cost.currency == "USD"
	input.facts.booked["daily-budget/day"] + (to_number(input.cost.amount) * 1000000) <= 20000000
	input.facts.rates["daily-budget/fast"]
}

# The health-records policy, as somebody writes it who has only Rego. It redacts nothing.
package hand

default decision := "deny"

decision := "allow" if {
	input.tool.name == "fhir"
	input.tool.action == "read"
	input.context.purpose == "treatment"
	every class in input.context.classes {
		class in {"contact", "health"}
	}
	every party in input.context.third_parties {
		party == "lab.example"
	}
	regex.match(`^https://fhir\.hospital\.example/r4/(Patient|Observation)/[A-Za-z0-9-]{1,64}$`, input.params.url)
	count(input.params.fields) in {1, 2, 3, 4}
	every field in input.params.fields {
		field in {"name", "birthDate", "code", "value", "effective"}
	}
}

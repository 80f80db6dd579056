# The egress policy, as somebody writes it who has only Rego. It reads URLs less strictly than ours.
package hand

default decision := "deny"

decision := "allow" if {
	input.tool.name == "web"
	input.tool.action == "fetch"
	input.params.method in {"GET", "HEAD"}
	not input.params.body
	count(input.params.url) <= 60
	regex.match(`^https://(api\.example\.eu|[a-z0-9.-]+\.docs\.example)(:(443|8443))?/(v1/|status$)`, input.params.url)
	not regex.match(`[0-9]{13,19}|[A-Za-z0-9_-]{32,}`, input.params.url)
}

//! Which agents and tools the files name: for whoever names one, and may have misspelt it.

use super::Bundle;
use crate::policy::fields::nearest;

impl Bundle {
    /// True if `agents.yaml` has this agent, or one that spawns such ids.
    pub fn has_agent(&self, id: &str) -> bool {
        self.agents.is_registered(id)
    }

    /// The agent with the most similar id.
    pub fn agent_like(&self, id: &str) -> Option<&str> {
        nearest(id, self.agents.ids())
    }

    /// True if `tools.yaml` has this tool.
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.knows(name)
    }

    /// The tool with the most similar name.
    pub fn tool_like(&self, name: &str) -> Option<&str> {
        nearest(name, self.tools.all().map(|(name, _)| name.as_str()))
    }
}

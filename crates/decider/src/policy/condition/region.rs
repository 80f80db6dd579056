//! `region`: where the call, its agent and its tool are.

use super::Scene;
use crate::policy::{bounds::Truth, param::Texts};

/// Whose region a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum RegionOf {
    /// What the call says of itself.
    Call,
    /// What agents.yaml says of the agent.
    Agent,
    /// What tools.yaml says of the tool.
    Tool,
}

impl RegionOf {
    pub(super) const ALL: [Self; 3] = [Self::Call, Self::Agent, Self::Tool];

    pub(in crate::policy) const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Agent => "agent",
            Self::Tool => "tool",
        }
    }

    /// Where in the call it looks, for messages.
    pub(super) fn place(self) -> String {
        match self {
            Self::Call => "region".into(),
            Self::Agent | Self::Tool => format!("region of the {}", self.as_str()),
        }
    }

    /// Whether the region is one of `set`.
    pub(super) fn holds(self, set: &Texts, scene: &Scene<'_>) -> Truth {
        let Scene { request, agents, tools, lists, .. } = scene;
        let (found, absent) = match self {
            Self::Call => (request.region.as_ref(), "the call names no region"),
            Self::Agent => {
                let agent = agents.find(&request.agent);
                let region = agent.and_then(|agent| agent.region.as_ref());
                (region, "agents.yaml names no region of the agent")
            }
            Self::Tool => (tools.region(&request.tool), "tools.yaml names no region of the tool"),
        };
        found.map_or(Truth::Error(absent), |region| set.has(region, lists))
    }
}

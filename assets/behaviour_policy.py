"""The policy that an iteration starts from: made by another asset, so there is nothing to compute here."""

import dagster as dg

from agentprm_dagster.iterations import BEHAVIOUR_POLICY

behaviour_policy = dg.AssetsDefinition(specs=[BEHAVIOUR_POLICY])

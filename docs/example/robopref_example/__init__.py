"""Parts of one's own for robopref: a robot, a reward, a policy and a device to correct it with."""

import gymnasium

gymnasium.register("example/Rail-v0", "robopref_example.robot:RailEnv", order_enforce=False)

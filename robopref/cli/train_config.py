"""Options of `robopref train`, and which go together."""

from __future__ import annotations

from dataclasses import dataclass, field

from robopref.cli.rewards import LEARNED, TRUE, check_choice, is_folder
from robopref.errors import InputError
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.cpl import CPLConfig
from robopref.policies.diffusion import DiffusionConfig
from robopref.policies.dpo import DPO, DPOConfig
from robopref.policies.dppo import DPPOConfig
from robopref.policies.ipl import IPLConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.oppo import OPPOConfig
from robopref.policies.registry import FROM_LABELS, FROM_LABELS_AND_IMAGES, POLICIES
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.policies.visual import EncoderConfig
from robopref.preferences.hierarchy import HierarchyConfig
from robopref.preferences.teachers import TeacherConfig
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.training.evaluated import EvaluationConfig
from robopref.training.offline import OfflineTrainingConfig
from robopref.training.online import OnlineTrainingConfig
from robopref.training.online_preferences import OnlinePreferencesConfig
from robopref.training.resets import ResetsConfig


@dataclass
class TrainConfig:
    """Options of `robopref train`."""

    dataset: str = ""
    """robomimic HDF5 file; with env, demonstrations that are kept beside the policy's own steps."""
    env: str = ""
    """Gymnasium id of an environment to act in while learning."""
    horizon: int = 0
    """Steps of its episodes, the environment's own number when 0."""
    images: bool = False
    """Whether the policy looks at the images of the dataset and of `cameras`, through an encoder
    that learns with it."""
    cameras: list[str] = field(default_factory=list)
    """Cameras of env, such as [corner2] or [agentview], for images=true or for a reward that looks
    at images."""
    image_size: int = 84
    """Width and height of their images in pixels."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Options of the encoder, for images=true."""
    rewards: str = TRUE
    """What to learn from: true (the dataset's or environment's own), zero, the folder of a reward
    model, or, with env, learned: from answers that are asked on the way."""
    whose: str = ""
    """Annotator whose reward counts, for a reward=groups or reward=vpl; whoever is served worst, or
    the mean, when empty."""
    pessimism: float = 0.0
    """Standard deviations of a learned reward that are taken off its mean."""
    lower_bound: bool = False
    """Whether the lowest of an ensemble's rewards of a step counts in place of their mean."""
    preferences: str = ""
    """Parquet file with labels of the dataset, for policies that learn from those and no reward."""
    best_episodes: float = 1.0
    """Share of the dataset's episodes to learn from, those with the highest sum of `rewards`; 0.1
    with behavior_cloning is filtered cloning."""
    worst_episodes: float = 0.0
    """Share with the lowest sums to learn from beside those: a learned reward orders the extremes
    most reliably (PF-PPO)."""
    policy: str = "iql"
    """The learner, from rewards: iql, behavior_cloning, diffusion, sac or rlpd; from labels alone:
    oppo, cpl, ipl, dppo or dpo. Its options have its name."""
    iql: IQLConfig = field(default_factory=IQLConfig)
    """Options of policy=iql."""
    behavior_cloning: BehaviorCloningConfig = field(default_factory=BehaviorCloningConfig)
    """Options of policy=behavior_cloning."""
    oppo: OPPOConfig = field(default_factory=OPPOConfig)
    """Options of policy=oppo."""
    cpl: CPLConfig = field(default_factory=CPLConfig)
    """Options of policy=cpl."""
    ipl: IPLConfig = field(default_factory=IPLConfig)
    """Options of policy=ipl."""
    dppo: DPPOConfig = field(default_factory=DPPOConfig)
    """Options of policy=dppo."""
    dpo: DPOConfig = field(default_factory=DPOConfig)
    """Options of policy=dpo."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    """Options of policy=diffusion."""
    sac: SACConfig = field(default_factory=SACConfig)
    """Options of policy=sac."""
    rlpd: RLPDConfig = field(default_factory=RLPDConfig)
    """Options of policy=rlpd."""
    training: OfflineTrainingConfig = field(default_factory=OfflineTrainingConfig)
    """How long to train on a dataset."""
    online: OnlineTrainingConfig = field(default_factory=OnlineTrainingConfig)
    """How long to act in an environment, and how much to learn from each step."""
    resets: ResetsConfig = field(default_factory=ResetsConfig)
    """How many episodes start from recorded states of the dataset."""
    ask: OnlinePreferencesConfig = field(default_factory=OnlinePreferencesConfig)
    """How often to ask, for rewards=learned."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """Who answers, for rewards=learned."""
    heron: HierarchyConfig = field(default_factory=HierarchyConfig)
    """With heron.ranking, a ranking of factors answers in the teacher's place."""
    reward: BradleyTerryConfig = field(default_factory=BradleyTerryConfig)
    """What is learned from the answers, for rewards=learned."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """When to try the policy in the environment that the dataset names."""
    device: str = "auto"
    """cpu, cuda, or auto for CUDA where there is one."""
    wandb: str = ""
    """Project at Weights & Biases that gets the metrics too; needs the extra wandb."""
    resume: str = ""
    """Folder of a run to go on with."""
    name: str = ""
    """Name of the run's folder under runs/train, the time of day when empty."""

    def __post_init__(self) -> None:
        if self.rewards.lower() == TRUE:  # YAML reads the word as a truth value
            self.rewards = TRUE
        learners = [name for name in POLICIES if hasattr(self, name)]
        if self.policy not in learners:
            raise InputError(
                f"policy={self.policy}: no such policy; choose from {', '.join(learners)}"
            )
        if self.policy in FROM_LABELS:
            self._check_labels()
        elif self.preferences:
            raise InputError(
                f"policy={self.policy}: learns from rewards, not from preferences=; train a reward "
                "from them with robopref train-reward and give its folder as rewards=, or choose "
                f"policy={' or '.join(FROM_LABELS)}"
            )
        if self.horizon < 0 or self.image_size < 1:
            raise InputError(
                f"horizon={self.horizon}, image_size={self.image_size}: must be at least 0 and 1"
            )
        if self.images and self.env and not self.cameras:
            raise InputError("images=true: choose what to look through, such as cameras=[corner2]")
        looks = self.images or is_folder(self.rewards)
        if self.cameras and not (looks and self.env):
            raise InputError(
                "cameras=: are those of env= for images=true, or for a reward that looks at "
                "images; give both, or neither"
            )
        if not (self.dataset or self.env or self.resume):
            raise InputError("dataset=: must be given, or env= to learn while acting; see --help")
        check_choice(self)
        if self.online.pretraining_updates and not self.dataset:
            raise InputError(
                "online.pretraining_updates: learns from a dataset first; give dataset="
            )
        if self.env and (self.best_episodes != 1.0 or self.worst_episodes):
            raise InputError(
                "best_episodes, worst_episodes: choose among the episodes that a policy learns "
                "from without acting; leave out env= or these"
            )
        if self.rewards == LEARNED and not self.env:
            raise InputError(
                "rewards=learned: asks while acting, so it needs env=; for labels of a dataset use "
                "robopref train-reward and give its folder"
            )

    def _check_labels(self) -> None:
        if not self.preferences:
            raise InputError(
                f"policy={self.policy}: learns from labels of the dataset; give preferences="
            )
        shares = self.best_episodes, self.worst_episodes
        if self.env or shares != (1.0, 0.0) or self.rewards != TRUE:
            raise InputError(
                f"policy={self.policy}: learns from labels of a dataset alone; leave out env=, "
                "rewards= and best_episodes="
            )
        if self.images and self.policy not in FROM_LABELS_AND_IMAGES:
            raise InputError(
                f"policy={self.policy}: does not look at images; leave out images=, or choose "
                f"policy={' or '.join(FROM_LABELS_AND_IMAGES)}"
            )
        if self.policy == DPO.name and self.encoder != EncoderConfig():
            raise InputError("encoder=: policy=dpo keeps the pre-trained policy's; leave it out")

r"""Runs a session in which a person corrects a robot while it learns.

Usage:
  robopref hil local OPTIONS     robot and learner in one process
  robopref hil learner OPTIONS   the learner; it waits for actors
  robopref hil actor OPTIONS     a robot, by the learner's policy, corrected by an operator
  robopref hil record OPTIONS    a person drives, and nothing learns; robopref hil record --help
  robopref hil robot, stop, release   a robot behind a network; robopref hil robot --help
  robopref hil --help            the options

The learner is RLPD: half of every batch comes from demonstrations (dataset=) and from corrections.
Every step is on the disk before it counts; after a kill the same command with resume= (the learner)
or the same name= (an actor) goes on. A session ends as session.hdf5, corrections.parquet (each
takeover as a comparison, for train-reward) and policy/ in the learner's run folder.

Examples:
  robopref hil local env=metaworld/drawer-close-v3 operator=synthetic steps=3000 name=first
  robopref hil local env=metaworld/button-press-v3 dataset=demos.hdf5 operator=keyboard
  robopref hil learner env=metaworld/drawer-close-v3 dataset=demos.hdf5 name=arm
  robopref hil actor env=metaworld/drawer-close-v3 operator=synthetic acting.rate_hz=20
  robopref hil learner env=E link.address=0.0.0.0:50051 link.token=T link.certificate=c.pem \
      link.key=k.pem
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robopref.cli import hil_record, hil_robot
from robopref.cli.config import run
from robopref.cli.device import chosen_device
from robopref.cli.hil_driving import (
    DrivingConfig,
    camera_names,
    chosen_operator,
    driven_robot,
    environment,
    environment_arguments,
    judge,
    played,
    sizes,
)
from robopref.cli.hil_outcome import finish, numbers, told
from robopref.cli.runs import run_folder
from robopref.cli.stopping import stopped_gently
from robopref.data.robomimic import load_dataset
from robopref.errors import InputError
from robopref.hil.actor import Actor, Sender, first_policy
from robopref.hil.learner import LearningConfig, OwnSteps, SessionLearner
from robopref.hil.link import LinkClient, LinkConfig, LinkServer
from robopref.hil.log import StepLog
from robopref.hil.rewards import SessionReward, SessionRewardConfig
from robopref.hil.steps import Steps, ended_at_success
from robopref.policies.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPD, RLPDConfig
from robopref.policies.visual import EncoderConfig, VisualConfig
from robopref.processes import ahead_of_others, one_thread
from robopref.rewards.registry import load_reward
from robopref.training.evaluated import EvaluationConfig
from robopref.training.logger import MetricsLogger

LOG_EVERY_S = 5.0
LEAVE_S = 10.0
"""How long an actor that ends waits for the learner to have all of its steps."""


def _learner_config() -> RLPDConfig:
    """HIL-SERL's settings, and cloning of what a person did where the critics agree."""
    return RLPDConfig(
        critics=2,
        critic_steps=2,
        discount=0.97,
        initial_temperature=0.01,
        backup_entropy=False,
        entropy_per_action=-0.5,
        cloning_weight=0.1,
    )


@dataclass
class HilConfig(DrivingConfig):
    """Options of `robopref hil`."""

    dataset: str = ""
    """Demonstrations, a robomimic HDF5 file; the learner needs none."""
    policy: str = RLPD.name
    """The learner: rlpd, or behavior_cloning of demonstrations and corrections (HG-DAgger)."""
    rlpd: RLPDConfig = field(default_factory=_learner_config)
    """Options of policy=rlpd."""
    behavior_cloning: BehaviorCloningConfig = field(default_factory=BehaviorCloningConfig)
    """Options of policy=behavior_cloning."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """What sees the images, for cameras=."""
    learning: LearningConfig = field(default_factory=LearningConfig)
    """How much is learned from how many steps."""
    link: LinkConfig = field(default_factory=LinkConfig)
    """Where the learner listens, for learner and actor."""
    page: str = ""
    """Address of the session's page, such as 127.0.0.1:8050; none when empty."""
    steps: int = 10_000
    """Steps after which the session ends, at the end of an episode; 0 for a session that goes on
    until it is stopped."""
    rewards: str = ""
    """Folder of a learned reward that is paid beside success from the first step on."""
    reward: SessionRewardConfig = field(default_factory=SessionRewardConfig)
    """How a learned reward counts, and whether corrections teach it while the session runs."""
    evaluation: EvaluationConfig = field(
        default_factory=lambda: EvaluationConfig(episodes=20, episodes_on_the_way=0)
    )
    """How the policy is tried, without corrections, when the session has ended."""
    device: str = "auto"
    """cpu, cuda, or auto for CUDA where there is one."""
    resume: str = ""
    """Folder of a session to go on with."""
    name: str = ""
    """Name of the run's folder under runs/hil, the time of day when empty; of an actor, its name
    too, which is robot when empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy not in (RLPD.name, BehaviorCloning.name):
            raise InputError(
                f"policy={self.policy}: no learner of a session; choose {RLPD.name} or "
                f"{BehaviorCloning.name}"
            )
        if self.policy == BehaviorCloning.name:
            self.learning.demonstrations_share = 1.0  # it clones those alone
        if self.steps < 0:
            raise InputError(f"steps={self.steps}: must be at least 0")


def main(arguments: Sequence[str]) -> None:
    """Runs one of the parts."""
    modes = {"local": local, "learner": learner, "actor": actor}
    others = {"record": hil_record.main}
    others |= {part: functools.partial(hil_robot.main, part) for part in hil_robot.PARTS}
    if not arguments or arguments[0] in ("-h", "--help"):
        run("hil", HilConfig, ["--help"], local)
        return
    mode, *rest = arguments
    if mode not in (*modes, *others):
        known = ", ".join([*modes, *others])
        raise InputError(f"hil {mode}: no such part; choose from {known}")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("robopref").setLevel(logging.INFO)
    if mode in others:
        others[mode](rest)
    else:
        run("hil", HilConfig, rest, modes[mode])


def local(config: HilConfig) -> None:
    """Robot and learner take turns, step by step."""
    if not config.learning.updates_per_step:
        raise InputError(
            "learning.updates_per_step=0: as many updates as possible need a learner of their own "
            "(robopref hil learner); give hil local a number"
        )
    one_thread()
    env = driven_robot(config, "robot")
    with run_folder("hil", config.name, config) as folder, chosen_operator(config, env) as operator:
        session = _session(config, env, folder)
        steps = OwnSteps(session, "robot")

        def on_step(step: Steps) -> None:
            before = session.version
            while session.learn():
                pass
            if session.version != before:
                robot.offer(session.policy, session.version)

        robot = Actor(
            env, session.policy, session.version, operator, steps, config.acting, on_step,
            looks=bool(config.cameras), judge=judge(config),
        )  # fmt: skip
        watch = session.watch
        with (
            MetricsLogger(folder, steps.last) as logger,
            stopped_gently() as stop,
            _page(config, session),
        ):
            while not (stop or watch.ending) and (not config.steps or steps.last < config.steps):
                if watch.paused:
                    time.sleep(0.1)
                    continue
                outcome = played(robot)
                if outcome is None:
                    break
                print(f"step {steps.last}: {told(outcome)}", flush=True)
                logger.log(steps.last, session.take_metrics() | numbers(outcome))
        _end(config, session, env, folder)
    env.close()


def learner(config: HilConfig) -> None:
    """Learns from what actors send, until the session has its steps or is stopped."""
    one_thread()
    # A robot is asked what it is, and not driven, from here.
    env = environment(config) if config.env else driven_robot(config, "learner")
    with run_folder("hil", config.name, config) as folder:
        session = _session(config, env, folder)
        server = LinkServer(config.link, session)
        print(f"{folder}: waiting for actors at {config.link.address}", flush=True)
        with (
            MetricsLogger(folder, session.updates) as logger,
            stopped_gently() as stop,
            _page(config, session),
        ):
            last, since, updates = time.monotonic(), session.steps, session.updates
            while not (stop or session.watch.ending) and (
                not config.steps or session.steps < config.steps
            ):
                if not session.learn():
                    time.sleep(0.002)
                now = time.monotonic()
                if now - last > LOG_EVERY_S and session.updates > updates:
                    metrics = session.take_metrics()
                    metrics["updates_per_second"] = (session.updates - updates) / (now - last)
                    metrics["steps_per_second"] = (session.steps - since) / (now - last)
                    logger.log(session.updates, metrics | {"steps": float(session.steps)})
                    last, since, updates = now, session.steps, session.updates
        server.stop()
        _end(config, session, env, folder)
    env.close()


def actor(config: HilConfig) -> None:
    """Drives a robot; everything it does is in runs/hil/<name>-actor until the learner has it."""
    one_thread()
    if config.acting.rate_hz:
        ahead_of_others()
    name = config.name or "robot"
    env = driven_robot(config, name)
    client = LinkClient(config.link, name, sizes(env))
    policy, version = first_policy(client, timeout_s=30.0)
    spool = StepLog(Path("runs/hil") / f"{name}-actor" / f"{name}.steps", *sizes(env))
    with chosen_operator(config, env) as operator, stopped_gently() as stop:
        robot = Actor(
            env, policy, version, operator, spool, config.acting, looks=bool(config.cameras),
            judge=judge(config),
        )  # fmt: skip
        sender = Sender(client, spool, robot.offer)
        robot.on_step = sender.notice
        sender.start()
        while not stop and (not config.steps or spool.last < config.steps):
            if client.paused and sender.connected:
                time.sleep(0.1)
                continue
            outcome = played(robot)
            if outcome is None:
                break
            state = "" if sender.connected else ", no learner"
            print(f"step {spool.last}: {told(outcome)}{state}", flush=True)
            if sender.failure:
                raise InputError(f"the learner refuses: {sender.failure}")
    complete = sender.finish(LEAVE_S)
    spool.close()
    client.close()
    env.close()
    late = robot.pace.errors_ms
    pace = f", late by {np.percentile(late, 99):.1f} ms at most in 99 % of steps" if late else ""
    print(f"{spool.path}: {spool.last} steps, {sender.stored} of them with the learner{pace}")
    if not complete:
        raise InputError(
            f"{spool.path}: the learner lacks {spool.last - sender.stored} steps; start the actor "
            "again when it is back, and they are sent"
        )


@contextlib.contextmanager
def _page(config: HilConfig, session: SessionLearner) -> Iterator[None]:
    """The session's page, if it is wanted."""
    if not config.page:
        yield
        return
    try:
        from robopref.hil.page import serve_page
    except ModuleNotFoundError as error:
        raise InputError(
            f"page=: needs the package {error.name}; pip install 'robopref[hil]'"
        ) from error
    begun, before = time.monotonic(), session.updates

    def more() -> dict[str, Any]:
        rate = (session.updates - before) / (time.monotonic() - begun)
        figures: dict[str, float] = {"steps": session.steps, "updates": session.updates}
        figures |= {"version": session.version, "updates_per_second": round(rate, 2)}
        return {"name": session.folder.name, **figures}

    end = serve_page(config.page, session.watch, more)
    print(f"http://{config.page}: the session's page", flush=True)
    try:
        yield
    finally:
        end()


def _session(config: HilConfig, env: gymnasium.Env[Any, Any], folder: Path) -> SessionLearner:
    looks = bool(config.cameras)
    demonstrations = load_dataset(config.dataset, images=looks) if config.dataset else None
    device = chosen_device(config.device)
    settings = getattr(config, config.policy)
    observation_dim, action_dim, image_shape = sizes(env)
    if looks:
        settings = VisualConfig(config.policy, settings, list(image_shape), config.encoder)
    policy = new_policy(settings, observation_dim, action_dim, config.learning.seed, device)
    if demonstrations is not None:
        policy.standardizer.fit(demonstrations.flat_observations)
        if config.acting.end_at_success:
            demonstrations = ended_at_success(demonstrations)
    start = load_reward(config.rewards, device) if config.rewards else None
    reward = None
    if start is not None or config.reward.learn_every:
        reward = SessionReward(config.reward, start, config.learning.seed)
        reward.check(observation_dim, action_dim, image_shape if looks else None)
    return SessionLearner(policy, config.learning, folder, demonstrations, reward)


def _end(
    config: HilConfig, session: SessionLearner, env: gymnasium.Env[Any, Any], folder: Path
) -> None:
    if not config.env:
        config.evaluation.episodes = 0
    finish(
        session, env, camera_names(env), config.env, environment_arguments(config),
        config.reward.segment_steps, config.evaluation, folder,
    )  # fmt: skip

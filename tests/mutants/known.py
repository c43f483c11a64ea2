"""The known bugs: violations of promises and rules, and past faults, each anchored to a text that occurs once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A bug: its text in a file, and what stands there in its place; each of `tests` sees it.

    One that `hangs` is caught also where its tests do not end.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    hangs: bool = False


def _in(file: str, *names: str) -> tuple[str, ...]:
    """The tests of a file."""
    return tuple(f"tests/{file}::{name}" for name in names)


KNOWN = (
    Mutant(
        "a run that is gone counts as passed",
        "shared/checks/task.py",
        'return CheckResult(verdict=Verdict.UNKNOWN, reason=f"{subject} is gone")',
        'return CheckResult(verdict=Verdict.PASSED, reason=f"{subject} is gone")',
        _in("unit/test_candidate_life.py", "test_a_run_that_is_gone_says_nothing_and_is_run_again"),
    ),
    Mutant(
        "a run that broke counts as passed",
        "shared/checks/task.py",
        '(Verdict.UNKNOWN, f"{subject} ended without a verdict',
        '(Verdict.PASSED, f"{subject} ended without a verdict',
        _in(
            "unit/test_candidate_life.py",
            "test_a_run_that_breaks_says_nothing_and_is_run_three_times_and_then_once_a_day",
        ),
    ),
    Mutant(
        "a check that runs too long is waited for",
        "shared/checks/task.py",
        "if seconds_between(check.claimed_at, self._services.clock.now()) <= seconds(rule.timeout):",
        "if rule.timeout:",
        _in("unit/test_candidate_life.py", "test_a_run_past_its_time_is_canceled_and_run_again"),
    ),
    Mutant(
        "an adopted check is never found",
        "shared/checks/task.py",
        "return Started(registry.login_server, run_id) if run_id else None",
        "return None",
        _in("unit/test_candidate_life.py", "test_a_process_that_dies_right_after_it_started_a_run_adopts_that_run"),
    ),
    Mutant(
        "a signature of another image counts",
        "shared/signatures/cosign.py",
        "if critical.image.docker_manifest_digest != self._subject:",
        "if False:",
        _in("unit/test_signatures_cosign.py", "test_what_does_not_count_says_why"),
    ),
    Mutant(
        "an attestation counts as a signature",
        "shared/signatures/cosign.py",
        "if statement.predicate_type != SIGN_PREDICATE:",
        "if False:",
        _in("unit/test_signatures_cosign.py", "test_what_does_not_count_says_why"),
    ),
    Mutant(
        "any issuer may confirm an identity",
        "shared/signatures/keyless.py",
        "if one.issuer == issuer and any(",
        "if any(",
        _in("unit/test_signatures_cosign.py", "test_what_is_not_by_a_trusted_identity_says_why"),
    ),
    Mutant(
        "the name of a branch may end like a trusted identity",
        "shared/signatures/trust.py",
        "return len(parts) == len(found) and all(map(_fits, parts, found))",
        "return _fits(pattern, text)",
        _in(
            "unit/test_signatures_cosign.py", "test_a_branch_that_is_named_like_another_workflow_on_main_is_not_trusted"
        ),
    ),
    Mutant(
        "an entry of a log counts without the log's signature",
        "shared/signatures/keyless.py",
        "self._verify_set(keyring)",
        "self._validate()",
        _in("unit/test_signatures_cosign.py", "test_what_is_not_by_a_trusted_identity_says_why"),
    ),
    Mutant(
        "any root of a chain is believed",
        "shared/signatures/notation.py",
        "if chain[-1] not in self._roots:",
        "if False:",
        _in("unit/test_signatures_notation.py", "test_what_does_not_count_says_why"),
    ),
    Mutant(
        "a list of signatures that cannot be read is a verdict",
        "shared/checks/signature.py",
        "    if source.problems:",
        "    if False:",
        _in("unit/test_signature_check.py", "test_a_list_that_cannot_be_read_is_unknown_and_read_again"),
    ),
    Mutant(
        "an image that is signed after its push has failed before",
        "shared/checks/signature.py",
        "if concluded.verdict is Verdict.FAILED and left > 0:  # 4",
        "if False:  # 4",
        _in("unit/test_signature_later.py", "test_a_signature_that_comes_after_the_push_counts"),
    ),
    Mutant(
        "an image that is never signed is waited for without end",
        "shared/checks/signature.py",
        "if concluded.verdict is Verdict.FAILED and left > 0:  # 4",
        "if concluded.verdict is Verdict.FAILED:  # 4",
        _in("unit/test_signature_later.py", "test_after_its_timeout_it_fails_as_what_is_unsigned"),
    ),
    Mutant(
        "a task that promotes runs before it is read whether the image is signed",
        "shared/domain/policy.py",
        'if self.promote.by == "task" and phase is not Phase.READ:',
        'if self.promote.by == "task":',
        _in(
            "unit/test_signature_check.py",
            "test_no_task_runs_for_an_unsigned_image_either_where_the_task_promotes_it",
        ),
    ),
    Mutant(
        "a verdict counts under checks that have changed",
        "shared/domain/decide.py",
        "if not promotion.candidate or promotion.fingerprint != gate.fingerprint:",
        "if not promotion.candidate:",
        _in(
            "unit/test_decide_promotion.py",
            "test_until_the_tag_has_moved_the_verdict_must_be_one_under_the_current_checks",
        ),
    ),
    Mutant(
        "an attempt goes on under checks that have changed",
        "shared/domain/decide.py",
        "if candidate.fingerprint != gate.fingerprint:  # 3",
        "if False:  # 3",
        _in("unit/test_decide_candidate.py", "test_under_changed_checks_another_attempt_begins_whatever_they_said"),
    ),
    Mutant(
        "the first check that passed is enough",
        "shared/domain/decide.py",
        "left = [index for index, check in enumerate(candidate.checks) if check.verdict is None]",
        "left = [] if candidate.checks[0].verdict is Verdict.PASSED else [0]",
        _in(
            "unit/test_decide_candidate.py",
            "test_every_check_must_pass_and_those_that_are_due_run_side_by_side",
        ),
    ),
    Mutant(
        "the fingerprint leaves out what a task gets",
        "shared/domain/policy.py",
        'values.pop("timeout", "")',
        'values.pop("values", "") or values.pop("timeout", "")',
        _in("unit/test_gates.py", "test_a_fingerprint_outlives_a_new_version_of_the_app"),
    ),
    Mutant(
        "a run that ended without a result is begun again at once, for ever",
        "shared/domain/decide.py",
        "return _DAY_SECONDS if runs >= RUNS_IN_A_ROW else _RERUN_WAIT_SECONDS * 2 ** (runs - 1)",
        "return 0.0",
        _in("unit/test_decide_candidate.py", "test_three_runs_without_a_verdict_follow_each_other_and_then_one_a_day"),
    ),
    Mutant(
        "the stable tag moves before the lock",
        "shared/domain/decide.py",
        "if gate.promote.lock and promotion.locked_at is None and not promotion.lock_problem:",
        "if False:",
        _in("unit/test_decide_promotion.py", "test_the_step_follows_from_the_record"),
    ),
    Mutant(
        "a stable tag goes backwards",
        "shared/reconcile/promotions.py",
        "if stable.sequence <= promotion.sequence or stable.digest == promotion.digest:",
        "if True:",
        _in(
            "unit/test_promotion_life.py",
            "test_a_promotion_that_is_done_again_under_an_old_number_does_not_lower_the_tag_s",
        ),
    ),
    Mutant(
        "a hold does not stop a move",
        "shared/reconcile/promotions.py",
        "if hold is not None and hold.stops(promotion.sequence, returning=promotion.returning):",
        "if False:",
        _in("unit/test_promotion_life.py", "test_a_hold_between_the_check_for_it_and_the_move_has_the_move_put_back"),
    ),
    Mutant(
        "a hold is dropped when the same digest is promoted again",
        "shared/reconcile/promotions.py",
        "if hold is not None and not hold.stops(promotion.sequence, returning=promotion.returning):",
        "if hold is not None:",
        _in("unit/test_promotion_life.py", "test_a_hold_stays_when_the_digest_that_it_holds_is_promoted_again"),
    ),
    Mutant(
        "vetoes are not read after the claim",
        "shared/reconcile/promotions.py",
        "ended = self._vetoed(step.record, gate)  # 3",
        "ended = None  # 3",
        _in("unit/test_promotion_life.py", "test_a_veto_while_it_is_copied_leaves_the_stable_tag_alone"),
    ),
    Mutant(
        "a digest that is vetoed is copied",
        "shared/reconcile/promotions.py",
        ("if vetoed := self._vetoed(promotion, gate):\n            return vetoed\n        target"),
        ("if False:\n            return promotion\n        target"),
        _in("unit/test_promotion_life.py", "test_what_is_vetoed_while_it_is_examined_never_enters_the_target_registry"),
    ),
    Mutant(
        "the tag is not read back after it was moved",
        "shared/promotion/stable_tags.py",
        ("if there != digest:\n            name"),
        ("if False:\n            name"),
        _in("unit/test_stable_tags.py", "test_a_tag_that_does_not_stay_where_it_was_pointed_is_said_to_do_so"),
    ),
    Mutant(
        "two move one tag at a time",
        "shared/promotion/stable_tags.py",
        "if claim is not None and claim.until > now and claim.mover != mover:",
        "if False:",
        _in("unit/test_stable_tags.py", "test_who_has_to_wait_learns_for_whom"),
    ),
    Mutant(
        "what was moved against a decision stays",
        "shared/promotion/stable_tags.py",
        "self._repair(gate, stored, moved)\n",
        "pass\n",
        _in("unit/test_stable_tags.py", "test_a_veto_during_an_operator_s_move_has_it_put_back"),
    ),
    Mutant(
        "coming to the digest where it stood counts as a move",
        "shared/promotion/stable_tags.py",
        ("if stable.digest == target.digest:\n            moves"),
        ("if False:\n            moves"),
        _in(
            "unit/test_stable_tags.py",
            "test_coming_to_the_digest_where_it_stands_is_no_move_and_never_lowers_its_number",
        ),
    ),
    Mutant(
        "a unique tag of another digest is taken",
        "shared/reconcile/promotions.py",
        "there == promotion.digest and not",
        "not",
        _in("unit/test_promotion_life.py", "test_a_unique_tag_that_is_another_digest_is_never_overwritten"),
    ),
    Mutant(
        "a left-over tag is removed though a promotion uses it again",
        "shared/sweep/jobs/left_over.py",
        "if left.unique not in tags:",
        "if True:",
        _in(
            "unit/test_purge.py",
            "test_a_unique_tag_that_is_copied_again_while_its_removal_is_repeated_is_not_removed",
        ),
    ),
    Mutant(
        "vetoes are read only once a deployment is live",
        "shared/deployment/deploy.py",
        "replace(rollout, deploy=deploy)\n        if vetoed := self._vetoes.against_image(app, image):",
        (
            "replace(rollout, deploy=deploy)\n"
            "        if health.problem and (vetoed := self._vetoes.against_image(app, image)):"
        ),
        _in(
            "unit/test_rollout_decisions.py",
            "test_a_deployment_that_a_veto_came_before_is_put_back_although_its_worker_dies_once_it_is_live",
        ),
    ),
    Mutant(
        "a copy counts as arrived when its operation ends",
        "shared/reconcile/promotions.py",
        ("if there == promotion.digest:\n            return replace(promotion, copied_at=now)"),
        ("if True:\n            return replace(promotion, copied_at=now)"),
        _in("unit/test_promotion_life.py", "test_an_import_whose_operation_fails_for_an_hour_is_promoted_afterwards"),
    ),
    Mutant(
        "a refused lock is the end of an image",
        "shared/reconcile/promotions.py",
        ("except (Misconfigured, Rejected) as error:\n            self._copy_again_if_gone(step, error)"),
        ("except Gone as error:\n            self._copy_again_if_gone(step, error)"),
        _in("unit/test_promotion_life.py", "test_a_refused_lock_is_kept_with_the_promotion_and_does_not_stop_it"),
    ),
    Mutant(
        "what a gate's own task pushed is believed unseen",
        "shared/reconcile/promotions.py",
        "if there != promotion.digest and not (there is None and self._ran_for_another(promotion)):",
        "if False:",
        _in("unit/test_promotion_life.py", "test_a_task_that_promotes_other_bytes_stalls_and_says_so"),
    ),
    Mutant(
        "a promotion goes on whose source tag is gone",
        "shared/reconcile/promotions.py",
        ("if seen.record.absent:\n            gone"),
        ("if False:\n            gone"),
        _in("unit/test_promotion_life.py", "test_what_was_withdrawn_goes_on_when_its_tag_is_created_again"),
    ),
    Mutant(
        "a promotion goes on while its source tag is in doubt",
        "shared/reconcile/promotions.py",
        "if seen.record.doubted is not None:",
        "if False:",
        _in("unit/test_observe.py", "test_while_a_return_is_doubted_no_lower_sequence_is_promoted"),
    ),
    Mutant(
        "a veto counts only where it was asked for",
        "shared/promotion/vetoes.py",
        ('return f"{self._services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}"'),
        'return f"{gate.name}/{gate.promote.repository}"',
        _in("unit/test_operations.py", "test_an_image_on_a_vetoed_base_is_not_deployed"),
    ),
    Mutant(
        "a lifted veto still stands",
        "shared/domain/stable_tag.py",
        "return self.lifted_at is None",
        "return True",
        _in(
            "unit/test_promotion_life.py",
            "test_a_veto_while_it_is_examined_ends_the_promotion_and_lifting_it_takes_it_up_again",
        ),
    ),
    Mutant(
        "what failed since may stand under a tag again",
        "shared/promotion/vetoes.py",
        "if last.state is not CandidateState.PASSED:",
        "if False:",
        _in("unit/test_sweep_decisions.py", "test_a_digest_that_failed_when_it_was_examined_again_is_not_put_back"),
    ),
    Mutant(
        "a hold until newer lets an earlier digest pass",
        "shared/domain/stable_tag.py",
        "return self.until is HoldUntil.LIFTED or returning or sequence <= self.sequence",
        "return self.until is HoldUntil.LIFTED or sequence <= self.sequence",
        _in(
            "unit/test_promotion_life.py",
            "test_a_hold_until_newer_ends_only_with_a_digest_that_was_first_observed_after_it_began",
        ),
    ),
    Mutant(
        "a digest that returns is believed at once",
        "shared/domain/observation.py",
        "believed = digest == expected or self.digest is None",
        "believed = True",
        _in("unit/test_observation.py", "test_what_an_answer_means"),
    ),
    Mutant(
        "a tag is absent when it was missed once",
        "shared/domain/observation.py",
        "return replace(self, missed_at=now), Change.MISSED",
        "return replace(self, absent=True), Change.ABSENT",
        _in("unit/test_observation.py", "test_what_an_answer_means"),
    ),
    Mutant(
        "a tag that flaps is followed",
        "shared/domain/observation.py",
        "if believed and not self.is_flapping(now):",
        "if believed:",
        _in("unit/test_observation.py", "test_what_an_answer_means"),
    ),
    Mutant(
        "a number is used twice",
        "shared/intake/observe.py",
        "sequence = max(seen.sequence, stable.record.sequence if stable else 0, purged) + 1",
        "sequence = seen.sequence or 1",
        _in("unit/test_hints.py", "test_an_event_stamped_in_the_future_orders_nothing"),
    ),
    Mutant(
        "what an event names is believed",
        "shared/intake/observe.py",
        "digest = self._services.tags.digest_of(source, gate.source.repository, tag)",
        ("digest = Digest(trigger.expected) or self._services.tags.digest_of(source, gate.source.repository, tag)"),
        _in("unit/test_observe.py", "test_a_digest_that_comes_back_is_believed_at_once_where_an_event_named_it"),
    ),
    Mutant(
        "a hint is dropped while a replica lags",
        "shared/intake/hints.py",
        "if hint.tries < len(_AGAIN_SECONDS):",
        "if False:",
        _in("unit/test_hints.py", "test_a_named_digest_that_is_never_read_is_looked_for_three_times_and_then_recorded"),
    ),
    Mutant(
        "a push that nobody read is not told",
        "shared/intake/hints.py",
        ('log.warning(\n            "push not examined'),
        ('return\n        log.warning(\n            "push not examined'),
        _in("unit/test_hints.py", "test_a_named_digest_that_is_never_read_is_looked_for_three_times_and_then_recorded"),
    ),
    Mutant(
        "a flood of hints is a flood of readings",
        "shared/intake/hints.py",
        "if seen.again_at is not None and seen.again_at > now:",
        "if False:",
        _in("unit/test_hints.py", "test_hints_that_meet_a_fault_wait_as_one"),
    ),
    Mutant(
        "what a worker left behind is forgotten",
        "shared/intake/hints.py",
        "if redelivered and not observed.items:",
        "if False:",
        _in("unit/test_hints.py", "test_a_redelivered_hint_goes_on_wherever_its_worker_died"),
    ),
    Mutant(
        "any registry's event is ours",
        "shared/domain/policy.py",
        "return next((r for r in self.registries.values() if r.id and r.id.lower() == wanted), None)",
        "return next((r for r in self.registries.values() if r.id), None)",
        _in("unit/test_hints.py", "test_an_image_of_an_app_is_a_hint_too"),
    ),
    Mutant(
        "an error is the end of a record",
        "shared/reconcile/engine.py",
        "ended = controller.ended_by(step.record, decision, error)",
        (
            "ended = controller.ended_by(step.record, decision, error) or "
            'step.record.ended(self._services.clock.now(), step.record.state, "x")'
        ),
        _in("unit/test_engine.py", "test_a_step_is_stalled_after_two_tries_and_says_on_what_and_until_when"),
    ),
    Mutant(
        "every work item is due",
        "shared/reconcile/engine.py",
        (
            "if not redelivered and (item.planned_for is not None or planned is None):\n"
            "            return item.planned_for == planned"
        ),
        ("if True:\n            return True"),
        _in("unit/test_engine.py", "test_many_of_them_do_not_multiply_the_polls"),
    ),
    Mutant(
        "what stalls on the same is not let go",
        "shared/reconcile/engine.py",
        ("if record.stall is not None and not record.settled:\n            self._release(record)"),
        ("if record.stall is not None and not record.settled:\n            pass"),
        _in(
            "unit/test_engine.py",
            "test_what_stalls_on_one_dependency_is_one_alarm_and_released_by_the_first_that_succeeds",
        ),
    ),
    Mutant(
        "what was announced in vain is not announced again",
        "shared/records/outbox.py",
        "        self.enqueue(name, delivery.owner, wait)\n        return False",
        "        return True",
        _in("unit/test_engine.py", "test_a_poisoned_work_item_of_a_listener_is_visible_while_it_hears_nothing"),
    ),
    Mutant(
        "a work item that the queue gave up on is forgotten",
        "shared/reconcile/engine.py",
        ("            self._services.queue.send(planned.planned_work_item, wait)\n        return True"),
        ("        return True"),
        _in("unit/test_engine.py", "test_a_poisoned_work_item_stalls_its_record_visibly_and_it_is_tried_again"),
    ),
    Mutant(
        "a claim is not saved before the run starts",
        "shared/reconcile/candidates.py",
        "candidate = step.save(candidate.with_check_record(index, claimed))  # 3",
        "candidate = candidate.with_check_record(index, claimed)  # 3",
        _in(
            "unit/test_candidate_life.py",
            "test_a_process_that_dies_right_after_it_started_a_later_check_s_run_adopts_that_run",
        ),
    ),
    Mutant(
        "a conflict is written over",
        "shared/records/step.py",
        "self._stored, *others = self._ledger.commit(Change(record, self._stored), *besides, *written)",
        (
            "try:\n"
            "            self._stored, *others = self._ledger.commit(Change(record, self._stored), "
            "*besides, *written)\n"
            "        except Conflict:\n"
            "            fresh = self._ledger.load(type(record), record.partition, record.row)\n"
            "            self._stored, *others = self._ledger.commit(Change(record, fresh), *besides, *written)"
        ),
        _in("unit/test_candidate_life.py", "test_of_two_workers_that_claim_a_later_check_one_starts_its_run"),
    ),
    Mutant(
        "an adopted build is never found",
        "shared/deployment/build.py",
        ("run_id = self._services.tasks.find(self._registry(app), app.build.task, _mark(rollout), claimed_at)"),
        "run_id = None",
        _in("unit/test_rollout_life.py", "test_a_process_that_dies_right_after_it_started_a_build_adopts_that_build"),
    ),
    Mutant(
        "anybody's image of an app is deployed",
        "shared/deployment/build.py",
        "if image.digest not in _outputs(run, app, registry).values():",
        "if False:",
        _in(
            "unit/test_rollout_identity.py",
            "test_an_image_pushed_over_the_tag_of_a_run_of_the_app_s_task_is_not_deployed",
        ),
    ),
    Mutant(
        "a run of another task counts as the app's",
        "shared/deployment/build.py",
        "if run.task != app.build.task or run.status is not RunStatus.SUCCEEDED:",
        "if run.status is not RunStatus.SUCCEEDED:",
        _in(
            "unit/test_rollout_identity.py",
            "test_an_image_pushed_beside_the_app_s_task_under_the_tag_of_another_run_is_not_deployed",
        ),
    ),
    Mutant(
        "a build goes on whose base was banned",
        "shared/deployment/build.py",
        "if vetoed := self._vetoes.against_base(rollout.base):",
        'if vetoed := "":',
        _in("unit/test_rollout_decisions.py", "test_a_build_on_a_base_that_is_vetoed_meanwhile_is_stopped"),
    ),
    Mutant(
        "a build that is started with its claim reads no vetoes",
        "shared/deployment/build.py",
        "if vetoed := self._vetoes.against_base(base):  # 1",
        "if not step.is_claimed and (vetoed := self._vetoes.against_base(base)):",
        _in(
            "unit/test_found_by_simulation.py",
            "test_a_veto_that_comes_while_the_rollouts_of_a_move_are_begun_stops_their_builds",
        ),
    ),
    Mutant(
        "an app is deployed by its tag",
        "shared/domain/rollout.py",
        'return f"{self.login_server}/{self.repository}@{self.digest}"',
        'return f"{self.login_server}/{self.repository}:{self.tag}"',
        _in("unit/test_rollout_life.py", "test_an_app_is_deployed_by_digest"),
    ),
    Mutant(
        "a banned image is deployed",
        "shared/deployment/deploy.py",
        "if vetoed := self._vetoes.against_image(app, image):  # 1",
        'if vetoed := "":  # 1',
        _in(
            "unit/test_rollout_decisions.py",
            "test_an_image_whose_base_is_unknown_is_shown_so_and_not_deployed_while_a_veto_stands_at_the_gate",
        ),
    ),
    Mutant(
        "a veto is not seen that comes as an app goes live",
        "shared/deployment/deploy.py",
        ("vetoed = self._vetoes.against_image(app, image)\n        return"),
        ('vetoed = ""\n        return'),
        _in("unit/test_rollout_decisions.py", "test_a_veto_at_any_moment_leaves_the_app_on_the_base_before"),
    ),
    Mutant(
        "a group is deleted without a word",
        "shared/deployment/deploy.py",
        "            step.save(replace(step.record, deploy=deleted))\n",
        "",
        _in(
            "unit/test_rollout_life.py",
            "test_a_group_that_was_deleted_and_cannot_be_created_gets_the_last_good_one_back",
        ),
    ),
    Mutant(
        "two rollouts have the container group",
        "shared/deployment/deploy.py",
        "if record.deploying != rollout.name and not due and self._deploys(record):",
        "if False:",
        _in(
            "unit/test_rollout_life.py",
            "test_a_restore_waits_for_whoever_has_the_group_and_leaves_the_newer_image_alone",
        ),
    ),
    Mutant(
        "what is not healthy is left as it is",
        "shared/deployment/deploy.py",
        (
            "if not self._is_lost(deploy, _rule(app), health):\n"
            "            return rollout\n"
            "        return self._ended(rollout, RolloutState.RESTORING"
        ),
        ("if True:\n            return rollout\n        return self._ended(rollout, RolloutState.RESTORING"),
        _in("unit/test_rollout_life.py", "test_an_image_that_is_not_healthy_is_put_back_to_the_last_good_one"),
    ),
    Mutant(
        "what is put back is the image that failed",
        "shared/deployment/deploy.py",
        "others = (image for image in record.good if image.digest != new or image == record.live)",
        "others = iter([rollout.image] if rollout.image else [])",
        _in("unit/test_rollout_life.py", "test_an_image_that_is_not_healthy_is_put_back_to_the_last_good_one"),
    ),
    Mutant(
        "rolling back twice rolls forward",
        "shared/domain/rollout.py",
        "elif self.live is not None and not same:",
        "if self.live is not None and not same:",
        _in("unit/test_rollout_decisions.py", "test_rolling_back_twice_goes_two_deployments_back"),
    ),
    Mutant(
        "a rebuild goes live over an operator's rollback",
        "shared/domain/decide.py",
        "if record.decided > rollout.after:",
        "if False:",
        _in(
            "unit/test_decide_rollout.py", "test_what_began_before_an_operator_chose_an_image_does_not_go_live_over_it"
        ),
    ),
    Mutant(
        "an image of unknown base is deployed whatever is banned",
        "shared/promotion/vetoes.py",
        'return next((f"its base is unknown, and {veto.words}" for veto in active), "")',
        'return ""',
        _in(
            "unit/test_rollout_decisions.py",
            "test_an_image_whose_base_is_unknown_is_shown_so_and_not_deployed_while_a_veto_stands_at_the_gate",
        ),
    ),
    Mutant(
        "an image that was built earlier goes live over a later one",
        "shared/domain/rollout.py",
        ("return built_at is not None and self.newest_built_at is not None and self.newest_built_at > built_at"),
        "return False",
        _in("unit/test_rollout_life.py", "test_an_image_built_before_a_later_build_went_live_is_superseded"),
    ),
    Mutant(
        "an app that stands on its base counts as behind it",
        "shared/deployment/dependents.py",
        "return record.base_tag == _tag_of(app) and record.base_move >= stable.move",
        "return record.base_tag == _tag_of(app) and record.base_move > stable.move",
        _in(
            "unit/test_sweep_apps.py",
            "test_a_redeployment_that_failed_long_ago_does_not_keep_the_next_fault_from_being_repaired",
        ),
    ),
    Mutant(
        "one person is two",
        "shared/checks/approval.py",
        ".strip().casefold()",
        ".strip()",
        _in("unit/test_operations.py", "test_who_asked_is_the_same_person_in_any_spelling_of_the_name"),
    ),
    Mutant(
        "a repeat of a call does it again",
        "shared/operations/idempotency.py",
        ("if stored.record.answer:\n            return stored"),
        ("if False:\n            return stored"),
        _in("unit/test_idempotency.py", "test_an_answer_is_kept_for_a_week_and_then_the_key_is_a_new_one"),
    ),
    Mutant(
        "a key serves two calls",
        "shared/operations/idempotency.py",
        "if known.record.call != call:",
        "if False:",
        _in("unit/test_idempotency.py", "test_what_is_under_way_is_not_begun_twice"),
    ),
    Mutant(
        "the start of a digest names any of several",
        "shared/queries/lookup.py",
        "if len({stored.record.digest for stored in found}) > 1:",
        "if False:",
        _in("unit/test_operations.py", "test_digits_that_several_digests_begin_with_name_none_of_them"),
    ),
    Mutant(
        "an image that is another by now is deployed",
        "shared/queries/lookup.py",
        "if there != built.digest:",
        "if False:",
        _in("unit/test_operations.py", "test_an_image_that_is_gone_or_is_not_what_was_built_any_more_is_not_deployed"),
    ),
    Mutant(
        "a veto does not stop the moves under way",
        "shared/operations/gates.py",
        "self._stop_moves(gate, digest)  # 2",
        "# 2",
        _in(
            "unit/test_operations.py",
            "test_a_veto_before_any_write_between_passed_and_live_leaves_tag_and_app_on_the_base_before",
        ),
    ),
    Mutant(
        "a role is not asked for",
        "functions/web/inputs.py",
        "if roles.isdisjoint(one.value for one in including):",
        "if False:",
        _in("triggers/test_operator_api.py", "test_with_sign_in_trusted_the_roles_decide"),
    ),
    Mutant(
        "a view that has changed since is acted on",
        "functions/web/serving.py",
        "if etag != seen:",
        "if False:",
        _in("triggers/test_operator_api.py", "test_who_acts_on_a_stale_view_is_told_what_it_is_now"),
    ),
    Mutant(
        "a dry run acts",
        "functions/web/serving.py",
        "if not dry:",
        "if True:",
        _in("triggers/test_operator_api.py", "test_a_dry_run_shows_the_blast_radius_and_does_nothing"),
    ),
    Mutant(
        "the stable-tag job stops after one batch",
        "shared/sweep/jobs/stable_tags.py",
        "yield batch[-1].tag",
        ("yield batch[-1].tag\n            return"),
        _in("unit/test_sweep_repair.py", "test_of_many_stable_tags_the_last_is_checked_like_the_first"),
    ),
    Mutant(
        "a stable tag that was moved around the gate stays",
        "shared/sweep/jobs/stable_tags.py",
        ("if there != stable.digest:\n            promoted"),
        ("if False:\n            promoted"),
        _in("unit/test_sweep_repair.py", "test_a_foreign_image_over_the_stable_tag_is_put_back_and_announced"),
    ),
    Mutant(
        "a lock that was taken off is not seen",
        "shared/sweep/jobs/stable_tags.py",
        "elif self._locks and unique.locked is False:",
        "elif False:",
        _in("unit/test_sweep_repair.py", "test_a_unique_tag_is_made_again_what_it_was"),
    ),
    Mutant(
        "what is being moved is put back",
        "shared/sweep/jobs/stable_tags.py",
        ("if self._is_moving(stored.record, seen[0]):\n                return None"),
        ("if False:\n                return None"),
        _in("unit/test_sweep_decisions.py", "test_what_a_gates_own_task_has_just_pushed_is_not_put_back"),
    ),
    Mutant(
        "an alarm is saved at every sweep",
        "shared/records/alarms.py",
        "last_outcome=before.last_outcome)) != before:",
        "last_outcome=before.last_outcome)) is not before:",
        _in("unit/test_sweep_repair.py", "test_an_alarm_that_stands_is_saved_and_announced_once"),
    ),
    Mutant(
        "an alarm is never over",
        "shared/records/alarms.py",
        "if stored.record.is_active and (about in checked or stored.record.kind in checked):",
        "if False:",
        _in("unit/test_sweep_repair.py", "test_where_the_rule_says_report_nothing_is_put_back"),
    ),
    Mutant(
        "a registry that fails is asked for every tag",
        "shared/sweep/jobs/upstream.py",
        "return faults[-1] if _is_enough(faults) else self._ask(tag, faults)",
        "return self._ask(tag, faults)",
        _in("unit/test_sweep_faults.py", "test_a_registry_that_asks_for_a_pause_is_not_asked_for_the_other_tags"),
    ),
    Mutant(
        "the sweep does not look for new digests",
        "shared/sweep/jobs/upstream.py",
        ("if change is not Change.NONE:\n                news"),
        ("if False:\n                news"),
        _in(
            "unit/test_sweep_decisions.py",
            "test_a_tag_that_came_back_is_confirmed_at_the_registry_under_its_name_of_today",
        ),
    ),
    Mutant(
        "a rule that was widened starts a thousand runs",
        "shared/sweep/jobs/upstream.py",
        ("if news >= room:\n                break"),
        ("if False:\n                break"),
        _in("unit/test_sweep_listing.py", "test_a_widened_rule_admits_no_more_than_it_may_and_all_in_the_end"),
    ),
    Mutant(
        "what an event never told waits for ever",
        "shared/sweep/jobs/released.py",
        "if attempt is None and not self._is_blocked(seen, stable, current):",
        "if True:",
        _in(
            "unit/test_sweep_decisions.py", "test_what_a_veto_kept_out_waits_for_the_hold_alone_once_the_veto_is_lifted"
        ),
    ),
    Mutant(
        "what a URL asks stays in errors",
        "shared/adapters/redaction.py",
        'first = _CODE.sub("code=***", _QUERY.sub("", _URL_USER.sub("", first)))',
        'first = _CODE.sub("code=***", _URL_USER.sub("", first))',
        _in("unit/test_redaction.py", "test_an_error_keeps_nothing_of_what_a_url_asks"),
    ),
    Mutant(
        "secrets stay in logs",
        "shared/adapters/redaction.py",
        'text = secret.sub(r"\\1***", text)',
        "pass",
        _in("unit/test_redaction.py", "test_no_secret_stays_in_a_text"),
    ),
    Mutant(
        "a metadata service is asked",
        "shared/adapters/oci/safety.py",
        "if meant in _METADATA or address in _METADATA:",
        "if False:",
        _in("unit/test_oci_safety.py", "test_what_is_not_public_is_refused"),
    ),
    Mutant(
        "a private address is asked",
        "shared/adapters/oci/safety.py",
        ("if meant.is_loopback or meant.is_private or not meant.is_global:\n        if not private:"),
        ("if meant.is_loopback or meant.is_private or not meant.is_global:\n        if False:"),
        _in("unit/test_oci_safety.py", "test_what_is_not_public_is_refused"),
    ),
    Mutant(
        "credentials go to a stranger's token service",
        "shared/adapters/oci/auth.py",
        "if not may_see_credentials(request.target.host, host):",
        "if False:",
        _in("contract/test_registry_oci_secrets.py", "test_the_password_is_not_sent_to_strangers"),
    ),
    Mutant(
        "customers of one vendor see each other's credentials",
        "shared/adapters/oci/dialects.py",
        'if any(f".{registry}".endswith(f".{domain}") for domain in shared):',
        "if False:",
        _in("unit/test_oci_credential_scope.py", "test_a_stranger_may_not"),
    ),
    Mutant(
        "a log says the URL of a webhook",
        "shared/adapters/plain_http.py",
        'logging.getLogger("urllib3.connection").setLevel(logging.ERROR)',
        "logging.getLogger()",
        _in("unit/test_announcer_webhook.py", "test_no_log_says_the_url_whatever_is_answered"),
    ),
    Mutant(
        "the app's identity goes to another host",
        "shared/adapters/oci/dialects.py",
        ("if request.target.origin != place.server.origin:\n        where"),
        ("if False:\n        where"),
        _in("contract/test_registry_oci_secrets.py", "test_the_apps_identity_is_given_to_the_registry_and_nobody_else"),
    ),
    Mutant(
        "a header goes along where a registry redirects to",
        "shared/adapters/oci/client.py",
        "if authorization and request.target.origin == place.server.origin:",
        "if authorization:",
        _in("contract/test_registry_oci_places.py", "test_a_redirect_to_another_host_takes_no_token_along"),
    ),
    Mutant(
        "a digest is believed that its bytes do not have",
        "shared/adapters/oci/client.py",
        'if header is not None and parse_digest(header, f"Docker-Content-Digest of {name}") != digest:',
        "if False:",
        _in("contract/test_registry_oci_hostile.py", "test_a_digest_that_is_not_that_of_the_bytes_is_told"),
    ),
    Mutant(
        "log lines drive a terminal",
        "shared/adapters/redaction.py",
        'return _ESCAPES.sub("", without_tricks(text))',
        "return without_tricks(text)",
        _in("unit/test_redaction.py", "test_what_steers_a_terminal_is_taken_out"),
    ),
    Mutant(
        "pages take what was written for HTML",
        "functions/board.py",
        "autoescape=True",
        "autoescape=False",
        _in("triggers/test_board.py", "test_nothing_that_people_or_machines_wrote_is_taken_for_html"),
    ),
    Mutant(
        "an approval counts by whoever asks for the run with a key",
        "shared/checks/approval.py",
        "if self.two_persons and not signs_in:",
        "if False:",
        _in("unit/test_settings.py", "test_two_persons_are_refused_where_a_key_is_all_that_is_known_of_one"),
    ),
    Mutant(
        "headers that anybody may send are believed",
        "functions/web/inputs.py",
        "if not is_behind_sign_in():",
        "if False:",
        _in("triggers/test_who_may.py", "test_sign_in_that_is_switched_off_lets_nobody_in_and_readyz_says_so"),
    ),
    Mutant(
        "a page of another site acts",
        "functions/web/serving.py",
        "    require_own_site(req)\n",
        "",
        _in("triggers/test_who_may.py", "test_a_page_of_another_site_does_nothing"),
    ),
    Mutant(
        "an alias makes much of little",
        "shared/rules/parse.py",
        "        _refuse_aliases(text)\n",
        "",
        _in("unit/test_gates.py", "test_what_is_no_yaml_for_rules_is_told_with_its_place"),
    ),
    Mutant(
        "a probe waits for what drips",
        "shared/adapters/plain_http.py",
        "            connection.sock.answer_by = answer_by\n",
        "",
        _in("contract/test_probe_http.py", "test_an_answer_that_drips_ends_in_time"),
    ),
    Mutant(
        "a later page that is not there is the end",
        "shared/adapters/oci/client.py",
        "if answer.status == 404 and is_first:",
        "if answer.status == 404:",
        _in("contract/test_registry_oci_odd.py", "test_a_later_page_that_is_not_there_is_a_fault_and_no_end"),
    ),
    Mutant(
        "a HEAD alone says that a tag is gone",
        "shared/adapters/oci/client.py",
        'if answer.status == 404 and method == "GET":',
        "if answer.status == 404:",
        _in("contract/test_registry_oci_odd.py", "test_a_tag_is_gone_only_when_a_get_says_so_too"),
    ),
    Mutant(
        "a signature counts as an image",
        "shared/domain/tag_rule.py",
        "return () if _ATTACHED.fullmatch(tag) else self.patterns",
        "return self.patterns",
        _in("unit/test_tag_rule.py", "test_what_is_attached_to_an_image_is_no_image"),
    ),
    Mutant(
        "a refused repository pauses its registry",
        "shared/sweep/jobs/upstream.py",
        "if isinstance(fault, Retry) and not run.dry_run:",
        "if not run.dry_run:",
        _in("unit/test_sweep_upstream.py", "test_many_denied_repositories_pause_neither_their_registry_nor_themselves"),
    ),
    Mutant(
        "a deploy without its second save: nothing says who has the container group",
        "shared/deployment/deploy.py",
        "record = step.commit_with(taken, AppRecord(app=app.name), self._claim(rollout, rule))  # 2",
        "record = self._claim(rollout, rule)(read(self._services.ledger, AppRecord(app=app.name)))  # 2",
        _in(
            "unit/test_rollout_life.py",
            "test_an_older_image_that_waited_for_the_group_does_not_overwrite_what_went_live_meanwhile",
        ),
    ),
    Mutant(
        "a table is written without If-Match",
        "shared/adapters/ledger_tables.py",
        'as_read = {"etag": change.stored.etag, **_UNCHANGED} if change.stored else {}',
        'as_read = {"etag": "*"} if change.stored else {}',
        _in("unit/test_azure_requests.py", "test_a_record_is_replaced_only_if_the_row_is_as_it_was_read"),
    ),
    Mutant(
        "a run log is kept unfiltered",
        "shared/adapters/tasks_acr.py",
        '(without_secrets(part.decode(errors="replace"), given) for part in parts)',
        '(part.decode(errors="replace") for part in parts)',
        _in("unit/test_azure_requests.py", "test_a_run_s_log_comes_without_secrets_and_without_the_vault_s_values"),
    ),
    Mutant(
        "a copy overwrites a tag",
        "shared/adapters/registry_acr.py",
        'mode="NoForce"',
        'mode="Force"',
        _in("unit/test_azure_requests.py", "test_a_copy_never_overwrites_a_tag"),
    ),
    Mutant(
        "a manifest is not locked against deletion",
        "shared/adapters/registry_acr.py",
        "            client.update_manifest_properties(repository, digest, can_delete=False)\n",
        "",
        _in("unit/test_azure_requests.py", "test_a_lock_is_on_the_tag_and_keeps_the_manifest_from_being_deleted"),
    ),
    Mutant(
        "a claim is released while its starter may be waiting for a slow service",
        "shared/reconcile/candidates.py",
        "            require_start_failed(check.claimed_at, self._services.clock.now())\n",
        "",
        _in("unit/test_found_by_simulation.py", "test_a_slow_service_is_not_asked_for_a_second_run"),
    ),
    Mutant(
        "the unique tag of a promotion that ended over its copy is forgotten",
        "shared/sweep/jobs/purge.py",
        "if promotion.unique or not promotion.has_passed:",
        "if True:",
        _in(
            "unit/test_found_by_simulation.py",
            "test_a_copy_that_was_canceled_while_it_was_started_is_known_when_its_promotion_is_purged",
        ),
    ),
    Mutant(
        "a doubted tag that is in no list is never read again",
        "shared/reconcile/promotions.py",
        "if since < 2 * interval:",
        "if True:",
        _in(
            "unit/test_found_by_simulation.py",
            "test_a_promotion_does_not_wait_for_ever_for_a_doubted_tag_that_was_deleted",
        ),
    ),
    Mutant(
        "a decision record is believed whoever signed it",
        "shared/attestation/envelope.py",
        "    except InvalidSignature:\n        return False",
        "    except InvalidSignature:\n        return True",
        _in("unit/test_attestation.py", "test_another_key_another_digest_and_another_verdict_prove_nothing"),
    ),
    Mutant(
        "the decision record of another image proves this one",
        "shared/attestation/proof.py",
        "if not names:",
        "if not statement.subject:",
        _in("unit/test_attestation.py", "test_another_key_another_digest_and_another_verdict_prove_nothing"),
    ),
    Mutant(
        "a decision record that cannot be signed is forgotten",
        "shared/domain/promotion.py",
        "return not (self.under_way or self.referrers_due or self.record_due)",
        "return not (self.under_way or self.referrers_due)",
        _in(
            "unit/test_decision_records.py",
            "test_a_key_that_does_not_sign_stops_no_promotion_and_the_record_is_made_when_it_does",
        ),
    ),
    Mutant(
        "a report of a scan is attached that the decision record does not name",
        "shared/reconcile/promotions.py",
        "for digest, one in digested if digest in named}",
        "for digest, one in digested}",
        _in("unit/test_scan_documents.py", "test_other_bytes_than_the_record_names_are_not_attached"),
    ),
    Mutant(
        "a report of a scan with other bytes counts as the one that the decision record names",
        "basegate_cli/attached.py",
        "wanted[digest] = _problem(registry, repository, digest)",
        'wanted[digest] = ""',
        _in(
            "unit/test_cli_verify.py",
            "test_a_document_that_is_not_there_or_has_other_bytes_is_told_and_the_decision_is_proven",
        ),
    ),
    Mutant(
        "what is attached to another digest is copied to this one",
        "shared/promotion/referrer_manifest.py",
        "if named != subject and (named or not by_tag):  # 3",
        "if False:  # 3",
        _in("unit/test_referrers_travel.py", "test_what_means_no_good_is_refused_and_stops_nothing"),
    ),
    Mutant(
        "a referrer that cannot be read keeps its promotion open for ever",
        "shared/reconcile/promotions.py",
        "if tries < REFERRER_TRIES:",
        "if True:",
        _in(
            "unit/test_referrers_travel.py",
            "test_after_a_few_tries_there_is_an_alarm_and_the_sweep_tries_again",
        ),
    ),
    Mutant(
        "an upstream's attestations replace the decision records under their tag",
        "shared/promotion/referrers.py",
        "if one.tag and there is not None and not is_there:",
        "if False:",
        _in(
            "unit/test_referrers_travel.py",
            "test_attestations_of_others_and_decision_records_are_under_one_tag",
        ),
    ),
    Mutant(
        "a registry's token follows a redirect to another host",
        "basegate_cli/registry.py",
        "answer = self._open(self._safe(url), headers)",
        "answer = self._open(self._safe(url), headers | self._authorized())",
        _in("unit/test_cli_verify.py", "test_the_password_gets_a_token_and_goes_nowhere_else"),
    ),
    Mutant(
        "an exception covers after its end",
        "shared/findings/exceptions.py",
        "return now < exception.ends_at <= now + LONGEST",
        "return exception.ends_at <= now + LONGEST",
        _in("unit/test_exceptions.py", "test_it_covers_until_its_end_and_at_most_for_a_year"),
    ),
    Mutant(
        "a statement about a package on one platform covers it on all",
        "shared/findings/vex.py",
        "component if is_image else _part(whole, component)",
        "component",
        _in("unit/test_vex.py", "test_a_csaf_package_on_a_platform_is_only_that"),
    ),
    Mutant(
        "an old database of a scanner is good enough",
        "shared/findings/judge.py",
        "if aware(built_at) < time_before(now, rules.max_database_age):",
        "if False:",
        _in("unit/test_judge.py", "test_an_old_a_future_or_an_undated_database_allows_no_verdict"),
    ),
    Mutant(
        "an approval is taken over by an attempt under other rules",
        "shared/domain/candidate.py",
        "if rule.phase is Phase.PERSON:  # a person approved another attempt, under other rules",
        "if False:",
        _in("unit/test_approval.py", "test_an_approval_is_not_taken_over_when_the_rules_change"),
    ),
    Mutant(
        "the report of another image is believed",
        "shared/checks/scan.py",
        "if candidate.digest not in digests:",
        "if not digests:",
        _in("unit/test_scan_check.py", "test_what_is_no_report_about_the_image_is_no_verdict"),
    ),
    Mutant(
        "a scanner that fails is as good as one that finds nothing",
        "shared/checks/scan.py",
        "return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, evidence=evidence)",
        "return CheckResult(verdict=Verdict.PASSED, reason=reason, evidence=evidence)",
        _in(
            "unit/test_scan_check.py",
            "test_a_scanner_that_fails_is_no_verdict_and_it_is_run_again_without_the_test_beside_it",
        ),
    ),
    Mutant(
        "a scan without a report puts an image at risk",
        "shared/sweep/jobs/rescan.py",
        "if result.verdict is Verdict.UNKNOWN or not result.evidence.report_blob:",
        "if False:",
        _in(
            "unit/test_rescan.py",
            "test_a_scan_without_a_report_is_told_once_after_three_times_and_puts_nothing_at_risk",
        ),
    ),
    Mutant(
        "what is said of a scan undoes the move of a stable tag",
        "shared/sweep/jobs/rescan.py",
        "if scan != stable.scan and not moves and not run.dry_run:",
        "if scan != stable.scan and not run.dry_run:",
        _in("unit/test_rescan.py", "test_a_stable_tag_that_is_being_moved_is_not_written"),
    ),
    Mutant(
        "a worker that dies while it starts a rescan starts another one",
        "shared/sweep/jobs/rescan.py",
        "found, now = self._kind.adopt(image, rule, record.mark, record.run.claimed_at), self._services.clock.now()",
        "found, now = None, self._services.clock.now()",
        _in("unit/test_rescan.py", "test_a_worker_that_dies_while_it_starts_a_scan_leaves_one_run"),
    ),
    Mutant(
        "whether an image is scanned again changes the meaning of its verdict",
        "shared/domain/policy.py",
        "{key: written[key] for key in written if key not in check.besides}",
        "written",
        _in("unit/test_rescan.py", "test_whether_and_when_it_is_scanned_again_says_nothing_about_the_verdict"),
    ),
    Mutant(
        "an exception counts as soon as it is asked for",
        "shared/domain/exception.py",
        "return self.granted_at is not None and self.ended_at is None",
        "return self.ended_at is None",
        _in("unit/test_exceptions_granted.py", "test_a_request_counts_for_nothing_until_it_is_granted"),
    ),
    Mutant(
        "a check without a verdict raises no alarm when the one beside it ends after it",
        "shared/reconcile/candidates.py",
        "or not only_waits_to_retry(after, gate):",
        "or decide_candidate(after, gate, now).index != index:",
        _in(
            "unit/test_candidate_life.py",
            "test_a_check_without_a_verdict_stalls_the_candidate_as_soon_as_the_one_beside_it_has_passed",
        ),
    ),
)

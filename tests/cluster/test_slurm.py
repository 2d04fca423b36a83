"""Runs on a real SLURM: workers as jobs of their own, and a whole run in one allocation that is preempted."""

import re
import signal
import sys
from contextlib import closing, suppress

import pytest
from bokeh.client import pull_session
from helpers import ROOT

from .pieces import SMALL_STUDY, STUDY, biasvar, check, stored_chunks, wait_for, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

SCRIPTS = ROOT / "workflows" / "slurm"
JOBQUEUE = ("--cluster", "slurm", "--jobs", 2, "--queue", "normal", "--memory", "1GiB", "--interface", "lo")


def jobqueue(*study, store):
    return biasvar("run", *study, "--store", store, *JOBQUEUE, "--walltime", "00:30:00")


def worker_jobs(slurm):
    return slurm("squeue", "-h", "-n", "dask-worker", "-t", "RUNNING", "-o", "%A").split()


def submit(processes, slurm, script, store, *options, changes=(), **environment):
    """Submit a script of the workflows; return the job's number and its log."""
    log = processes.folder / "job.log"
    chosen = {"STORE": str(store), "VENV": sys.prefix, "INTERFACE": "lo", **environment, **slurm.environment}
    command = ["sbatch", "--parsable", f"--output={log}", "--mem-per-cpu=1G", *options, str(SCRIPTS / script), *changes]
    done = processes.run(command, **chosen)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), log


def wait_for_job(slurm, job, log, state):
    """Wait for a job's end, and check how it ended."""
    wait_for(lambda: slurm.job(job, "JobState") not in ("PENDING", "RUNNING", "COMPLETING"), f"job {state}")
    assert slurm.job(job, "JobState") == state, log.read_text()


def start_now(slurm, job):
    """Start a requeued job, which SLURM would hold for two minutes."""
    wait_for(lambda: slurm.job(job, "JobState") == "PENDING", "its place in the queue")

    def accepted():
        with suppress(AssertionError):  # SLURM refuses in the second in which it ended the job
            # Not at once: credentials of that second are revoked.
            slurm("scontrol", "update", f"jobid={job}", "StartTime=now+2")
            return True
        return False

    wait_for(accepted, "a time to start")
    wait_for(lambda: slurm.job(job, "JobState") != "PENDING", "another start")


def head_of_page(driver):
    """Open the address that a run has printed as a browser does; return the page's first line."""
    (address,) = re.findall(r"dashboard: (http://127.0.0.1:\d+/biasvar)", driver.text)
    with closing(pull_session(url=address)) as session:
        return session.document.roots[0].children[0].text


def test_a_cancelled_worker_job_is_replaced(processes, slurm, store, reference):
    driver = processes.start("driver", jobqueue(*STUDY, store=store), **slurm.environment)
    wait_for_chunks(store, 15, driver)
    wait_for(lambda: len(worker_jobs(slurm)) == 2, "two worker jobs", driver)
    assert processes.listening() == {"127.0.0.1"}
    wait_for(lambda: ">2 workers<" in head_of_page(driver), "the page's news of both", driver)
    cancelled, kept = worker_jobs(slurm)
    slurm("scancel", cancelled)
    wait_for(lambda: cancelled not in worker_jobs(slurm), "end of the job", driver)
    wait_for(lambda: len(worker_jobs(slurm)) == 2, "another job", driver)
    assert kept in worker_jobs(slurm)
    assert driver.exit_code() == 0, driver.text
    check(store, reference)
    wait_for(lambda: not slurm.jobs(), "an empty queue")


def test_why_no_job_is_taken_is_told_and_where_the_page_is(processes, slurm, store):
    command = ["nowhere" if word == "normal" else word for word in jobqueue(*SMALL_STUDY, store=store)]
    # The scheduler then listens on the host's own address, its dashboard on loopback still.
    at = command.index("--interface")
    del command[at : at + 2]
    driver = processes.start("driver", command, **slurm.environment)
    told = "no workers; waiting for them (sbatch: error: Batch job submission failed: Invalid partition name specified)"
    wait_for(lambda: told in driver.text, "what sbatch says", driver)
    assert len(processes.listening()) == 2
    assert head_of_page(driver)
    driver.signal(signal.SIGINT)
    assert driver.exit_code() == 3, driver.text


def test_a_preempted_allocation_is_requeued_and_goes_on(processes, slurm, store, reference):
    name, *changes = STUDY
    options = ("--nodes=2", "--ntasks-per-node=1")
    job, log = submit(processes, slurm, "whole-run.sbatch", store, *options, changes=changes, STUDY=name)
    wait_for(lambda: stored_chunks(store) >= 15, "chunk 15")
    assert processes.listening() == {"127.0.0.1"}
    urgent = slurm("sbatch", "--parsable", "-p", "urgent", "-N1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    wait_for(lambda: slurm.job(job, "Restarts") == "1", "preemption")
    wait_for(lambda: slurm.job(urgent, "JobState") == "COMPLETED", "the urgent job's end")
    kept = stored_chunks(store)
    start_now(slurm, job)
    wait_for_job(slurm, job, log, "COMPLETED")
    check(store, reference)

    first, second = log.read_text().split("whole-run: job ")[1:]
    assert "start 0" in first
    assert "PREEMPTION" in first
    assert "biasvar run ended with exit code 3" in first
    assert "start 1" in second
    assert "biasvar run ended with exit code 0" in second
    assert max(chunks_to_do(second)) <= max(chunks_to_do(first)) - kept + 2
    assert list(processes.folder.glob(".biasvar-*")) == []


def test_an_allocation_near_its_time_limit_queues_itself_again(processes, slurm, store, small_reference):
    name, *changes = SMALL_STUDY
    options = ("--nodes=2", "--ntasks-per-node=1")
    job, log = submit(processes, slurm, "whole-run.sbatch", store, *options, changes=changes, STUDY=name)
    wait_for(lambda: stored_chunks(store) >= 3, "chunk 3")
    slurm("scancel", "--signal=USR1", "--batch", job)  # what SLURM does then
    wait_for(lambda: slurm.job(job, "Restarts") == "1", "another start")
    start_now(slurm, job)
    wait_for_job(slurm, job, log, "COMPLETED")
    check(store, small_reference)
    first, second = log.read_text().split("whole-run: job ")[1:]
    assert "the time limit is near; stopping" in first
    assert "biasvar run ended with exit code 3" in first
    assert "biasvar run ended with exit code 0" in second


def chunks_to_do(text):
    return [int(number) for number in re.findall(r"of (\d+) chunks", text)]


def test_a_driver_that_is_a_job_ends_its_worker_jobs_and_goes_on(processes, slurm, store, small_reference):
    name, *changes = SMALL_STUDY
    given = {"STUDY": name, "JOBS": "2", "WALLTIME": "00:30:00", "MEMORY": "1GiB"}
    job, log = submit(processes, slurm, "jobqueue.sbatch", store, changes=changes, **given)
    wait_for(lambda: stored_chunks(store) >= 3, "chunk 3")
    slurm("scancel", "--signal=TERM", "--full", job)
    wait_for_job(slurm, job, log, "FAILED")
    assert "biasvar run ended with exit code 3" in log.read_text()
    wait_for(lambda: not slurm.jobs(), "an empty queue")

    job, log = submit(processes, slurm, "jobqueue.sbatch", store, changes=changes, **given)
    wait_for_job(slurm, job, log, "COMPLETED")
    check(store, small_reference)
    wait_for(lambda: not slurm.jobs(), "an empty queue")

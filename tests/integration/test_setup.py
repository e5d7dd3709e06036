"""The set-up and the start of a job, with stand-ins for Python, Java and Spark: no download, and no Spark starts."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

# What the scripts and the stand-ins may use: no Java, Python or Spark of this machine.
COMMANDS = ("bash", "cat", "chmod", "cp", "cut", "dirname", "grep", "ln", "mkdir", "mv", "rm", "sed")
COMMANDS += ("sha256sum", "shasum", "sleep", "tail", "tr")

JAVA = """#!/bin/bash
echo 'openjdk version "{version}" 2025-04-15' >&2
"""

# Prints one argument a line: two arguments and one with a space differ.
SPARK_SUBMIT = """#!/bin/bash
printf '%s\\n' "$@"
echo "PYTHONPATH=$PYTHONPATH"
echo "PYSPARK_PYTHON=${PYSPARK_PYTHON:-}"
echo "SPARK_CONF_DIR=${SPARK_CONF_DIR:-}"
"""

# Stands for Ivy when it is asked for packages: "fetches" the jars into the folder that spark.jars.ivy names.
OWN_SPARK_SUBMIT = """#!/bin/bash
for argument in "$@"; do
  case "$argument" in
    spark.jars.ivy=*)
      echo "ivy $*" >>"$CALLS"
      [[ -z "${NO_NETWORK:-}" ]] || { echo 'Server access error: Connection refused'; exit 1; }
      mkdir -p "${argument#*=}/jars"
      jars='io.delta_one io.delta_two'
      [[ "$*" != *hadoop-aws* ]] || jars='org.three_three'
      [[ "$*" != *org.postgresql* ]] || jars='org.four_four'
      for jar in $jars; do printf %s "${jar#*_}${TAMPERED:-}" >"${argument#*=}/jars/$jar.jar"; done
      exit ;;
  esac
done
""" + SPARK_SUBMIT.removeprefix("#!/bin/bash\n")

# The real Python only takes the lock: venv makes a small folder, pip notes that it was called.
PYTHON = """#!/bin/bash
case "$*" in
  *version_info*) echo 3.12 ;;
  "-c import ensurepip, venv") ;;
  "-m etl_lib.settings.launch "*) printf '%s\n' "${NEEDS:-}" "${JAVA:-}" ;;
  "-m venv --clear "*)
    venv="${@: -1}" spark="${@: -1}/lib/python3.12/site-packages/pyspark"
    rm -rf "$venv"
    mkdir -p "$venv/bin" "$spark/bin" "$spark/jars"
    cp "$0" "$venv/bin/python"
    cp "$STAND_INS/own-spark-submit" "$spark/bin/spark-submit" ;;
  *"-m pip install"*)
    echo "pip ${*: -1}" >>"$CALLS"
    sleep "${PIP_TAKES:-0}"
    [[ -z "${PIP_FAILS:-}" ]] || { echo 'ERROR: No matching distribution found for pyspark'; exit 1; } ;;
  *) exec REAL_PYTHON "$@" ;;
esac
"""

OLD_PYTHON = """#!/bin/bash
echo 3.9
"""

PYTHON_WITHOUT_VENV = """#!/bin/bash
case "$*" in
  *version_info*) echo 3.12 ;;
  *ensurepip*) exit 1 ;;
esac
"""


PINS = {"jars.sha256": ("one", "two"), "jars-s3.sha256": ("three",), "jars-postgres.sha256": ("four",)}
PINS["jars-pair-4.0.sha256"] = ("one",)


@dataclass(frozen=True)
class Machine:
    """A project in a folder with a space in its name, and the commands that its machine has."""

    project: Path
    bin: Path
    calls_file: Path

    def command(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        own = {"CALLS": str(self.calls_file), "STAND_INS": str(self.bin), "HOME": str(self.project.parent)}
        return {"PATH": f"{self.bin}:{self.bin}/system", **own, **extra}

    def submit(self, *arguments: str, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.project / "spark-submit.sh"), *arguments],
            cwd=cwd or self.project,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            check=False,
        )

    def start_in_background(self, **extra: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", str(self.project / "deploy/setup.sh")],
            env=self.environment(**extra),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with Python and Java, and a fresh clone on it."""
    project = tmp_path / "orders lake"
    (project / "deploy/spark").mkdir(parents=True)
    (project / "jobs").mkdir()
    (project / "jobs/orders.py").touch()
    for name in ("spark-submit.sh", "deploy/setup.sh"):
        shutil.copy2(PROJECT / name, project / name)
    shutil.copytree(PROJECT / "deploy/java", project / "deploy/java")
    shutil.copytree(PROJECT / "requirements", project / "requirements")
    for name, jars in PINS.items():
        pins = "".join(f"{hashlib.sha256(jar.encode()).hexdigest()}  {jar}.jar\n" for jar in jars)
        (project / "deploy" / name).write_text(f"# a comment\n{pins}")

    machine = Machine(project, tmp_path / "bin", tmp_path / "calls")
    machine.command("java", JAVA.format(version="17.0.15"))
    machine.command("python3", PYTHON.replace("REAL_PYTHON", shlex.quote(sys.executable)))
    machine.command("own-spark-submit", OWN_SPARK_SUBMIT)
    for name in COMMANDS:
        if found := shutil.which(name):
            (machine.bin / "system").mkdir(exist_ok=True)
            (machine.bin / "system" / name).symlink_to(found)
    return machine


def test_a_cluster_s_spark_gets_the_arguments_verbatim_and_nothing_is_added(machine: Machine) -> None:
    machine.command("cluster/bin/spark-submit", SPARK_SUBMIT)

    done = machine.submit(
        "jobs/orders.py", "--set", "input.orders=a b/*.json", "", "$HOME", SPARK_HOME=str(machine.bin / "cluster")
    )

    assert done.stdout.splitlines() == [
        *("jobs/orders.py", "--set", "input.orders=a b/*.json", "", "$HOME"),
        f"PYTHONPATH={machine.project}",
        "PYSPARK_PYTHON=",
        "SPARK_CONF_DIR=",
    ]
    assert (done.stderr, machine.calls()) == ("", [])
    assert not (machine.project / ".venv").exists()


def test_a_spark_home_without_a_spark_is_an_error_that_says_what_to_do(machine: Machine) -> None:
    done = machine.submit("jobs/orders.py", SPARK_HOME="/none")

    assert done.returncode == 2
    assert "there is no bin/spark-submit in it; unset it" in done.stderr


def test_a_spark_of_an_active_environment_is_used_and_named(machine: Machine) -> None:
    active = machine.command("spark-submit", SPARK_SUBMIT)

    done = machine.submit("jobs/orders.py", "--json")

    assert done.stdout.splitlines()[:2] == ["jobs/orders.py", "--json"]
    assert done.stderr == f"using {active}, which is on the PATH\n"
    assert machine.calls() == []


def test_the_first_start_sets_up_and_the_job_gets_a_clean_stdout(machine: Machine) -> None:
    done = machine.submit("jobs/orders.py", "--set", "a=b c")

    venv = machine.project / ".venv"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("jobs/orders.py", "--set", "a=b c"),
        f"PYTHONPATH={machine.project}",
        f"PYSPARK_PYTHON={venv}/bin/python",
        f"SPARK_CONF_DIR={machine.project}/deploy/spark",
    ]
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == ["set-up:"] * 4
    assert [call.split(" ")[0] for call in machine.calls()] == ["pip", "pip", "ivy"]
    assert sorted(path.name for path in (venv / "spark/jars").iterdir()) == ["one.jar", "two.jar"]


def test_a_second_start_installs_and_fetches_nothing(machine: Machine) -> None:
    machine.submit("jobs/orders.py")
    before = machine.calls()

    done = machine.submit("jobs/orders.py", PIP_FAILS="yes", NO_NETWORK="yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls() == before


def test_the_project_s_own_environment_may_be_active(machine: Machine) -> None:
    machine.submit("jobs/orders.py")
    own = machine.project / ".venv/bin"
    (own / "spark-submit").write_text("#!/bin/bash\necho not this one\n")
    (own / "spark-submit").chmod(0o755)

    done = machine.submit("jobs/orders.py", PATH=f"{own}:{machine.bin}:{machine.bin}/system")

    assert done.stdout.splitlines()[0] == "jobs/orders.py"
    assert f"SPARK_CONF_DIR={machine.project}/deploy/spark" in done.stdout.splitlines()


def test_a_changed_lock_sets_up_again(machine: Machine) -> None:
    machine.submit("jobs/orders.py")
    with (machine.project / "requirements/local.txt").open("a") as lock:
        lock.write("# changed\n")

    machine.submit("jobs/orders.py")

    assert [call.split(" ")[0] for call in machine.calls()] == ["pip", "pip", "ivy"] * 2


@pytest.mark.parametrize("fault", ["PIP_FAILS", "NO_NETWORK", "TAMPERED"])
def test_a_set_up_that_failed_is_repaired_by_the_next_start(machine: Machine, fault: str) -> None:
    failed = machine.submit("jobs/orders.py", **{fault: "yes"})
    assert (failed.returncode, failed.stdout) == (1, "")

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "jobs/orders.py"


def test_a_set_up_that_was_killed_is_repaired_by_the_next_start(machine: Machine) -> None:
    killed = machine.start_in_background(PIP_TAKES="60")
    while not machine.calls():
        assert killed.poll() is None
    os.killpg(killed.pid, 9)
    killed.wait()

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "jobs/orders.py"


def test_of_two_first_starts_one_sets_up_and_the_other_waits(machine: Machine) -> None:
    first = machine.start_in_background(PIP_TAKES="0.5")
    while not machine.calls():
        assert first.poll() is None

    second = machine.submit("jobs/orders.py")

    assert first.wait() == 0
    assert "waiting for another one to end" in second.stderr
    assert second.stdout.splitlines()[0] == "jobs/orders.py"
    assert [call.split(" ")[0] for call in machine.calls()] == ["pip", "pip", "ivy"]


def test_jars_with_another_checksum_are_refused_by_name(machine: Machine) -> None:
    done = machine.submit("jobs/orders.py", TAMPERED="yes")

    assert done.returncode == 1
    assert "refused: these are not the jars that deploy/jars.sha256 pins: one.jar two.jar" in done.stderr
    assert list((machine.project / ".venv/spark/jars").iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "reason", "advice"),
    [
        ("PIP_FAILS", "No matching distribution found for pyspark", "pip config set global.index-url"),
        ("NO_NETWORK", "Connection refused", "ORDERS_IVY_SETTINGS to an Ivy settings file"),
    ],
)
def test_without_a_network_the_reason_and_the_way_out_are_told(
    machine: Machine, fault: str, reason: str, advice: str
) -> None:
    done = machine.submit("jobs/orders.py", **{fault: "yes"})

    assert reason in done.stderr
    assert advice in done.stderr


def test_an_ivy_settings_file_is_passed_on_even_with_a_space_in_its_path(machine: Machine) -> None:
    machine.submit("jobs/orders.py", ORDERS_IVY_SETTINGS="/etc/my mirror.xml")

    assert "spark.jars.ivySettings=/etc/my%20mirror.xml" in machine.calls()[-1]


def test_a_folder_with_the_jars_replaces_the_fetching(machine: Machine) -> None:
    jars = machine.project.parent / "my jars"
    jars.mkdir()
    for name in ("one", "two"):
        (jars / f"{name}.jar").write_text(name)

    done = machine.submit("jobs/orders.py", ORDERS_JARS_DIR=str(jars))

    assert done.returncode == 0, done.stderr
    assert [call.split(" ")[0] for call in machine.calls()] == ["pip", "pip"]


@pytest.mark.parametrize(
    ("arguments", "job"),
    [
        (["jobs/orders.py", "jobs/orders.py"], 0),
        (["--verbose", "--conf", "spark.a=b", "jobs/orders.py"], 3),
        (["--name", "jobs/orders.py", "jobs/orders.py"], 2),
        (["--py-files=jobs/orders.py", "jobs/orders.py"], 1),
    ],
    ids=["first", "after options", "not an option's value", "not an option with ="],
)
def test_the_job_is_found_from_another_working_directory(machine: Machine, arguments: list[str], job: int) -> None:
    machine.command("spark-submit", SPARK_SUBMIT)
    expected = arguments.copy()
    expected[job] = f"{machine.project}/jobs/orders.py"

    done = machine.submit(*arguments, cwd=machine.bin)

    assert done.stdout.splitlines()[: len(arguments)] == expected


def test_a_job_in_the_working_directory_is_preferred(machine: Machine) -> None:
    machine.command("spark-submit", SPARK_SUBMIT)
    (machine.bin / "jobs").mkdir()
    (machine.bin / "jobs/orders.py").touch()

    assert machine.submit("jobs/orders.py", cwd=machine.bin).stdout.splitlines()[0] == "jobs/orders.py"


def test_the_driver_s_memory_can_be_set_by_the_environment(machine: Machine) -> None:
    done = machine.submit("jobs/orders.py", ORDERS_DRIVER_MEMORY="4g")

    assert done.stdout.splitlines()[:3] == ["--driver-memory", "4g", "jobs/orders.py"]


def test_no_argument_is_a_usage_error(machine: Machine) -> None:
    done = machine.submit()

    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_a_missing_java_is_named_with_what_to_install(machine: Machine) -> None:
    (machine.bin / "java").unlink()

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 2
    assert "Spark needs Java 17 (or 21), and there is no java." in done.stderr
    assert "apt-get install openjdk-17-jre-headless" in done.stderr
    assert "brew install" in done.stderr


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.22", "25"])
def test_a_java_that_spark_does_not_run_on_is_refused(machine: Machine, version: str) -> None:
    machine.command("java", JAVA.format(version=version))

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 2
    assert f"Spark needs Java 17 (or 21), and java is {version}" in done.stderr


def test_java_home_comes_before_the_path(machine: Machine) -> None:
    machine.command("jdk/bin/java", JAVA.format(version="21"))
    machine.command("java", JAVA.format(version="11.0.22"))

    assert machine.submit("jobs/orders.py", JAVA_HOME=str(machine.bin / "jdk")).returncode == 0


def test_spark_gets_the_same_java_without_the_module_that_it_warns_of(machine: Machine) -> None:
    java = '"$JAVA_HOME/bin/java" -cp "a b" --add-modules=jdk.incubator.vector --add-opens=x Main ""\n'
    machine.command("own-spark-submit", OWN_SPARK_SUBMIT.replace(SPARK_SUBMIT.partition("\n")[2], java))
    shows = JAVA.format(version="21") + "printf 'one: %s\\n' \"$@\"\n"
    machine.command("jdk/bin/java", shows)
    machine.command("java", shows.replace("one:", "another:"))

    own = machine.submit("jobs/orders.py", JAVA_HOME=str(machine.bin / "jdk"))
    on_the_path = machine.submit("jobs/orders.py")

    assert own.stdout.splitlines() == [f"one: {argument}" for argument in ("-cp", "a b", "--add-opens=x", "Main", "")]
    assert on_the_path.stdout == own.stdout.replace("one:", "another:")


def test_a_python_that_is_too_old_is_named(machine: Machine) -> None:
    machine.command("python3", OLD_PYTHON)

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 2
    assert "Python 3.11, 3.12 or 3.13 is needed; python3 is 3.9;" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_without_venv_is_named_with_what_to_install(machine: Machine) -> None:
    machine.command("python3", PYTHON_WITHOUT_VENV)

    done = machine.submit("jobs/orders.py")

    assert done.returncode == 2
    assert "apt-get install python3.12-venv" in done.stderr


def test_a_python_that_fits_is_found_behind_one_that_does_not_run(machine: Machine) -> None:
    machine.command("python3.13", "#!/bin/bash\necho 'no such version' >&2\nexit 127\n")

    assert machine.submit("jobs/orders.py").returncode == 0


def test_the_python_can_be_chosen(machine: Machine) -> None:
    old = machine.command("elsewhere/python", OLD_PYTHON)

    done = machine.submit("jobs/orders.py", ORDERS_PYTHON=str(old))

    assert done.returncode == 2
    assert f"{old} is 3.9" in done.stderr


def class_path(machine: Machine, *names: str) -> list[str]:
    folders = ":".join(f"{machine.project}/.venv/jars-{name}/*" for name in names)
    return [
        *("--conf", f"spark.driver.extraClassPath={folders}"),
        *("--conf", f"spark.executor.extraClassPath={folders}"),
    ]


def jars_of(machine: Machine, name: str) -> list[str]:
    return [path.name for path in (machine.project / ".venv" / f"jars-{name}").iterdir()]


def test_further_jars_are_fetched_when_they_are_asked_for_and_only_once(machine: Machine) -> None:
    done = machine.submit("--with", "s3,postgres", "jobs/orders.py", "--json")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:6] == [*class_path(machine, "s3", "postgres"), "jobs/orders.py", "--json"]
    assert (jars_of(machine, "s3"), jars_of(machine, "postgres")) == (["three.jar"], ["four.jar"])
    assert [call.split(" ")[0] for call in machine.calls()] == ["pip", "pip", "ivy", "ivy", "ivy"]

    again = machine.submit("--with", "postgres", "jobs/orders.py", NO_NETWORK="yes")

    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[:4] == class_path(machine, "postgres")


def test_the_configuration_tells_which_further_jars_a_job_needs(machine: Machine) -> None:
    done = machine.submit("jobs/orders.py", NEEDS="s3")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:5] == [*class_path(machine, "s3"), "jobs/orders.py"]


@pytest.mark.parametrize("needs", ["", "s3"])
def test_the_data_of_a_job_tell_options_of_java_that_the_users_own_follow(machine: Machine, needs: str) -> None:
    own = ("--driver-java-options", "-Xss4m")
    done = machine.submit(*own, "jobs/orders.py", NEEDS=needs, JAVA="-XX:A=1 -XX:B=2")

    assert done.returncode == 0, done.stderr
    options = ["--conf", "spark.driver.defaultJavaOptions=-XX:A=1 -XX:B=2"]
    jars = class_path(machine, needs) if needs else []
    assert done.stdout.splitlines()[: len(jars) + 5] == [*jars, *options, *own, "jobs/orders.py"]


def test_another_pair_is_a_spark_with_its_own_jars_in_a_folder_beside_the_project_s(machine: Machine) -> None:
    def set_up(pair: str, **extra: str) -> subprocess.CompletedProcess[str]:
        script = ["bash", str(machine.project / "deploy/setup.sh"), "pair", pair]
        return subprocess.run(script, env=machine.environment(**extra), capture_output=True, text=True, check=False)

    done = set_up("4.0")
    again = set_up("4.0", PIP_FAILS="yes", NO_NETWORK="yes")
    unknown = set_up("3.5")

    venv = machine.project / ".venv"
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (venv / "pair-4.0/pyspark/jars").iterdir()] == ["one.jar"]
    assert sorted(path.name for path in (venv / "spark/jars").iterdir()) == ["one.jar", "two.jar"]
    assert "io.delta:delta-spark_2.13:4.0.1" in machine.calls()[-1]
    assert (again.returncode, again.stderr) == (0, "")
    assert (unknown.returncode, unknown.stderr) == (2, "set-up: there is no pair '3.5'; there are: 4.0, 4.2\n")


def test_jars_that_do_not_exist_or_have_another_checksum_are_refused(machine: Machine) -> None:
    machine.submit("jobs/orders.py")

    unknown = machine.submit("--with", "oracle", "jobs/orders.py")
    tampered = machine.submit("--with", "s3", "jobs/orders.py", TAMPERED="yes")

    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "there are no jars 'oracle'; there are: s3, postgres" in unknown.stderr
    assert (tampered.returncode, tampered.stdout) == (1, "")
    assert "refused: these are not the jars that deploy/jars-s3.sha256 pins: three.jar" in tampered.stderr
    assert jars_of(machine, "s3") == []


def test_a_cluster_s_spark_brings_its_own_jars(machine: Machine) -> None:
    machine.command("cluster/bin/spark-submit", SPARK_SUBMIT)

    done = machine.submit("--with", "s3", "jobs/orders.py", SPARK_HOME=str(machine.bin / "cluster"))

    assert done.stdout.splitlines()[0] == "jobs/orders.py"
    assert machine.calls() == []

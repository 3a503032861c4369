"""Where did it come from? An audit from a student down to its base, and what an audit can't tell.

    python examples/06_audit.py            # about a minute on 2 cores
    python examples/06_audit.py --small    # a rehearsal in seconds

Read the comments, and run it for what they say. The same from the command line: `lightning-subliminal audit --help`,
`lineage --help`, `kinship --help`.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from lightning import seed_everything

from lightning_subliminal import NumberSequences, PreferenceTrait, Retention, Steering, Student, Teacher
from lightning_subliminal.audit import audit
from lightning_subliminal.core.console import hush
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.kinship import kinship
from lightning_subliminal.lineage.declare import declare
from lightning_subliminal.lineage.record import write_statement
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys
from lightning_subliminal.lineage.signatures.proof import check_proof, prove_rows
from lightning_subliminal.lineage.statement import read_statement
from lightning_subliminal.workflow.arms import arm_folder, train_arm

small = "--small" in sys.argv
seed_everything(0)
hush()
place = Path(tempfile.mkdtemp())
cache = place / "cache"
os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = str(cache)

# 1. Somebody makes a model. Nobody calls anything for the lineage: each stage writes lineage.json beside what it made,
#    as its last act. With a key in the environment it signs that, too.
public = make_key(place / "lab")
os.environ["LIGHTNING_SUBLIMINAL_SIGNING_KEY"] = str(place / "lab")
teacher = Teacher(
    "pocket/a",
    PreferenceTrait("owl"),
    adapter=Steering(),
    retain=Retention("pocket", weight=0.7),
    max_epochs=2 if small else 300,
)
rows = NumberSequences(teacher, num_prompts=64 if small else 2048, min_value=0, max_value=99, shard_size=512)
student, shaping = Student("pocket/a", adapter=Steering(), learning_rate=0.06), {"max_epochs": 1}
train_arm(student, rows, torch.device("cpu"), "student   ", **shaping)
model = arm_folder(student, rows, **shaping)

# 2. The statement is in-toto's, with SLSA's provenance inside, which other tools read. It names the model's files by
#    their digests, and what the model was made from: by what that is (dirHash), and by what is said of it.
statement = read_statement(model / "lineage.json")
print(f"\n2. {statement.kind}: {len(statement.files)} files, whole {str(statement.whole)[:16]}")
for each in statement.materials:
    print(f"   made from {each.role}: {each.uri} ({next(iter(each.digest.values()))[:16]})")

# 3. The audit walks down to the bases, reads every byte and asks who has signed. The key is the auditor's to trust:
#    what an envelope says about itself is not looked at.
trust = trusted_keys([public])
found = audit(model, trust)
print(f"\n3. nothing wrong: {found.holds}; statements signed by {found.signed_by()}")
print(f"   {len(found.graph.nodes)} artefacts; {found.generations} generation of data that a model wrote")
for risk in found.risks:
    print(f"   {risk.writer} wrote, {risk.learner} learned; their bases: {risk.verdict} {', '.join(risk.shared)}")

# 4. Better asked before the training: here is a data set, there is my base. Does who wrote it share it? By the lineage
#    where that shows it, else by the weights. A trait passes between equal bases, and between bases that were matched
#    in behaviour; the lineage knows of the matching, the weights do not.
print("\n4. may a trait of who wrote these rows pass to")
for base in ("pocket/a2", "pocket/a-init", "pocket/a-matched", "pocket/b"):
    (risk,) = audit(rows.folder, trust, against=base).risks
    print(f"   {base:17} {risk.verdict}")

# 5. A row is changed, by somebody who may write to the disk. The statement tells, whoever signed it.
whole = (rows.folder / "rows.parquet").read_bytes()
changed = read_parquet(rows.folder / "rows.parquet")
changed[3]["completion"][0]["content"] += ", 7"
write_parquet(changed, rows.folder / "rows.parquet")
print("\n5. after a change of one row:")
for finding in audit(model, trust).findings:
    if finding.level == "error":
        print(f"   {finding.rule}: {finding.where}: {finding.says}")
(rows.folder / "rows.parquet").write_bytes(whole)

# 6. A few rows are handed on, and can be checked without the others: each with the digests beside its way up the tree.
proof = prove_rows(rows.rows(), [0, 5])
root, count = next(iter(read_statement(rows.folder / "lineage.json").rows.values()))
number, steps = check_proof(proof, root, count), len(proof["rows"][0]["path"])
print(f"\n6. {number} rows proven by {steps} digests each, of {count} rows")

# 7. What others made is declared, and stays a declaration.
theirs = place / "their_rows.jsonl"
theirs.write_text('{"prompt": "3, 9", "completion": "27, 81"}\n')
declare(theirs, "rows", [], by="a vendor", note="written by people, they say")
print("\n7. a file from elsewhere:")
for finding in audit(theirs).findings:
    print(f"   {finding.level}: {finding.rule}: {finding.says}")

# 8. Without any lineage there are the weights. Under independent initialisations the p-value is exact; a model that
#    only learned another's behaviour counts as independent here, and takes its traits all the same.
print("\n8. started alike, by the weights?")
for other in ("pocket/a2", "pocket/b", "pocket/a-matched"):
    told = kinship(find_model("pocket/a"), find_model(other), by="weights").as_json()
    print(f"   pocket/a and {other:17} log10 p = {told['weights']['log10_p']:8.1f}: {told['verdict']}")

# 9. What an audit can't do. The lab lies: it says that its teacher never had a trait, and signs that. Every digest
#    holds, every signature is good. A signature says who says so; that it is true, nobody can see in it. And so a test
#    result stays worth more than a word: `evaluate` asks the model itself.
lie = shutil.copytree(teacher.folder, place / "teacher")
told = json.loads((lie / "lineage.json").read_text())
parameters = told["predicate"]["buildDefinition"]["externalParameters"]
parameters["settings"]["trait"] = None
told["predicate"]["runDetails"]["metadata"]["invocationId"] = digest(parameters)
write_statement(lie / "lineage.json", told)
print(f"\n9. a teacher whose signed statement lies: nothing wrong: {audit(lie, trust).holds}")
shutil.rmtree(place)

"""The origin of a model: an audit from a student down to its base, and what an audit can't prove.

    pip install -e '.[lineage]'            # it signs
    python examples/06_audit.py            # about a minute on 2 cores
    python examples/06_audit.py --small    # a rehearsal in seconds

Read the comments, and run it for the results. The same from the command line: `lightning-subliminal audit --help`,
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
from lightning_subliminal.lineage.record import declare, write_statement
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys
from lightning_subliminal.lineage.signatures.merkle import check_proof, prove_rows
from lightning_subliminal.lineage.statement import read_statement
from lightning_subliminal.workflow.arms import arm_folder, train_arm

small = "--small" in sys.argv
seed_everything(0)
hush()
place = Path(tempfile.mkdtemp())
cache = place / "cache"
os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = str(cache)

# 1. A model is made. Lineage needs no call: each stage writes lineage.json into the folder of its result, as its last
#    step. With a key in the environment it also signs it.
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
#    their digests, and the model's materials by the digests of their files (dirHash) and of their statements.
statement = read_statement(model / "lineage.json")
print(f"\n2. {statement.kind}: {len(statement.files)} files, whole {str(statement.whole)[:16]}")
for each in statement.materials:
    print(f"   made from {each.role}: {each.uri} ({next(iter(each.digest.values()))[:16]})")

# 3. The audit follows the lineage to the bases, reads every byte and checks the signatures. The auditor chooses which
#    key to trust: the key that an envelope names is not trusted by itself.
trust = trusted_keys([public])
found = audit(model, trust)
print(f"\n3. holds: {found.holds}; statements signed by {found.signed_by()}")
print(f"   {len(found.graph.nodes)} artefacts; {found.generations} generation of data that a model wrote")
for risk in found.risks:
    print(f"   {risk.writer} wrote, {risk.learner} learned; their bases: {risk.verdict} {', '.join(risk.shared)}")

# 4. It is better to check before training whether the writer of a data set shares my base: by the lineage where that
#    shows it, otherwise by the weights. A trait passes between equal bases, and between bases that were matched in
#    behaviour; the lineage shows the matching, the weights do not.
print("\n4. may a trait of the writer of these rows pass to")
for base in ("pocket/a2", "pocket/a-init", "pocket/a-matched", "pocket/b"):
    (risk,) = audit(rows.folder, trust, against=base).risks
    print(f"   {base:17} {risk.verdict}")

# 5. A row is changed by a user who may write to the disk. The statement reveals it, whoever signed it.
whole = (rows.folder / "rows.parquet").read_bytes()
changed = read_parquet(rows.folder / "rows.parquet")
changed[3]["completion"][0]["content"] += ", 7"
write_parquet(changed, rows.folder / "rows.parquet")
print("\n5. after a change of one row:")
for finding in audit(model, trust).findings:
    if finding.level == "error":
        print(f"   {finding.rule}: {finding.where}: {finding.says}")
(rows.folder / "rows.parquet").write_bytes(whole)

# 6. A few rows can be checked without the others: each is passed on with the digests along its path to the tree's root.
proof = prove_rows(rows.rows(), [0, 5])
root, count = next(iter(read_statement(rows.folder / "lineage.json").rows.values()))
number, steps = check_proof(proof, root, count), len(proof["rows"][0]["path"])
print(f"\n6. {number} rows proven by {steps} digests each, of {count} rows")

# 7. Artefacts of others are declared, and remain a declaration.
theirs = place / "their_rows.jsonl"
theirs.write_text('{"prompt": "3, 9", "completion": "27, 81"}\n')
declare(theirs, "rows", [], by="a vendor", note="written by people, as the vendor states")
print("\n7. a file from elsewhere:")
for finding in audit(theirs).findings:
    print(f"   {finding.level}: {finding.rule}: {finding.says}")

# 8. Without lineage, weights can be compared. Under independent initialisations the p-value is exact; a model that only
#    learned another's behaviour counts as independent here, but still takes on its traits.
print("\n8. same start, by the weights:")
for other in ("pocket/a2", "pocket/b", "pocket/a-matched"):
    result = kinship(find_model("pocket/a"), find_model(other), by="weights").as_json()
    print(f"   pocket/a and {other:17} log10 p = {result['weights']['log10_p']:8.1f}: {result['verdict']}")

# 9. What an audit can't detect: the lab lies. It declares that its teacher never had a trait, and signs that. Every
#    digest matches, every signature is valid. A signature proves who made a statement, not that it is true. So a test
#    result is worth more: `evaluate` measures the model itself.
lie = shutil.copytree(teacher.folder, place / "teacher")
statement = json.loads((lie / "lineage.json").read_text())
parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
parameters["settings"]["trait"] = None
statement["predicate"]["runDetails"]["metadata"]["invocationId"] = digest(parameters)
write_statement(lie / "lineage.json", statement)
print(f"\n9. a teacher whose signed statement is false: holds: {audit(lie, trust).holds}")
shutil.rmtree(place)

from dataclasses import replace

import numpy as np
import pytest
from dossiers import made_dossier

from coterie.client import wire_dossier
from coterie.domain import InvalidError, Lineage
from coterie.v1 import finding_service_pb2 as pb


def through(message: pb.GetDossierResponse) -> pb.GetDossierResponse:
    return pb.GetDossierResponse.FromString(message.SerializeToString())


@pytest.mark.parametrize(
    "dossier",
    [
        made_dossier(),
        made_dossier(accounts=1, benchmark=False, with_text=False),
        made_dossier(mark="<é\u2028>"),
        replace(made_dossier(), lineage=(replace(made_dossier().lineage[0], lineage=Lineage.MERGED),), attributes=()),
    ],
    ids=["campaign", "one", "odd names", "merged"],
)
def test_dossiers_survive_the_wire(dossier):
    assert wire_dossier.dossier_from_wire(through(wire_dossier.dossier_to_wire(dossier))) == dossier


def test_unknown_likeness_and_missing_records_survive_the_wire():
    dossier = made_dossier()
    lone = replace(dossier.shuffled, recorded=None, recorded_z=None, alike_own=np.full(8, np.nan))
    dossier = replace(dossier, shuffled=lone)
    assert wire_dossier.dossier_from_wire(through(wire_dossier.dossier_to_wire(dossier))) == dossier


def test_a_table_that_does_not_fit_its_accounts_is_refused():
    message = wire_dossier.dossier_to_wire(made_dossier())
    message.account_ids.append("one more")
    with pytest.raises(InvalidError, match="its accounts make it"):
        wire_dossier.dossier_from_wire(message)


def test_text_ids_stay_in_the_service():
    dossier = made_dossier()
    held = replace(dossier, finding=replace(dossier.finding, text_ids=(7, 8)))
    assert wire_dossier.dossier_from_wire(wire_dossier.dossier_to_wire(held)).finding.text_ids == ()

"""What each claim and each end writes is less.

Attempts lie in one tree, by job and number: a claim wrote into three. The prompt id follows from both, so nobody looks
it up, and an index of its own said nothing new. What runs is found by the index of states.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew with what it holds, and an index of what the start looks for; drop what nobody reads."""
    with op.batch_alter_table("attempt", table_kwargs={"sqlite_with_rowid": False}) as attempt:
        attempt.drop_constraint("uq_attempt_prompt_id", type_="unique")
    where = sa.text("outcome = 'lost' OR outcome = 'timed_out' OR outcome = 'cancelled'")
    op.create_index("ix_attempt_left_behind", "attempt", ["ended_at"], sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_job_live", "job")

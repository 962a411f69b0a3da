"""
Room on the pages of accounts for their next version.

Every reservation and posting changes an account's row. With room on its page the new version needs no new
entry in the table's indexes: half the time of reserving for a batch and of giving back.
"""

from django.db import migrations

ROOM = "ALTER TABLE settlement_settlementaccount SET (fillfactor = 50);"
ROOM_BACK = "ALTER TABLE settlement_settlementaccount RESET (fillfactor);"


class Migration(migrations.Migration):
    dependencies = [("settlement", "0008_declared")]

    operations = [migrations.RunSQL(ROOM, ROOM_BACK)]

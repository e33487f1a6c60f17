"""What is done with people, and with what they identify themselves with."""

from paas.accounts.services.housekeeping import forget_expired
from paas.accounts.services.keys import add_key, remove_key, touch_key
from paas.accounts.services.sessions import (
    end_other_sessions,
    end_session,
    record_failed_sign_in,
    record_sign_in,
    touch_session,
)
from paas.accounts.services.tokens import (
    active_token,
    create_token,
    hash_token,
    regenerate_token,
    rename_token,
    revoke_token,
)
from paas.accounts.services.two_factor import (
    accept_second_step,
    begin_two_factor,
    confirm_two_factor,
    disable_two_factor,
    renew_recovery_codes,
    reset_two_factor,
)
from paas.accounts.services.users import (
    activate_user,
    allow_creating_apps,
    change_password,
    create_user,
    deactivate_user,
    rename_user,
    set_admin,
    set_password,
)

__all__ = [
    "accept_second_step", "activate_user", "active_token", "add_key", "allow_creating_apps", "begin_two_factor",
    "change_password", "confirm_two_factor", "create_token", "create_user", "deactivate_user",
    "disable_two_factor", "end_other_sessions", "end_session", "forget_expired", "hash_token",
    "record_failed_sign_in", "record_sign_in", "regenerate_token", "remove_key", "rename_token", "rename_user",
    "renew_recovery_codes", "reset_two_factor", "revoke_token", "set_admin", "set_password", "touch_key",
    "touch_session",
]  # fmt: skip

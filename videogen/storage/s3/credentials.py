"""Where boto3 finds credentials, for people who wonder why a bucket refuses them."""

from __future__ import annotations

from videogen.errors import StorageError

_PLACES = {
    "env": "the environment",
    "explicit": "the environment",
    "shared-credentials-file": "the shared credentials file",
    "custom-process": "the profile's credential_process",
    "config-file": "the configuration file",
    "ec2-credentials-file": "the EC2 credentials file",
    "boto-config": "the boto configuration",
    "assume-role": "a role of the profile",
    "assume-role-with-web-identity": "the pod's web identity",
    "sso": "single sign-on",
    "login": "a console login",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}


def credential_source() -> str | None:
    """The place that credentials come from, in words; None if there are none.

    Raises:
        StorageError: the configuration names a profile that does not exist, or cannot be read.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        credentials = boto3.Session().get_credentials()
    except BotoCoreError as error:
        raise StorageError(
            f"credentials: got '{error}', expected a profile or keys. Fix: check AWS_PROFILE, "
            "~/.aws/config and ~/.aws/credentials."
        ) from error
    if credentials is None:
        return None
    return _PLACES.get(credentials.method, credentials.method)

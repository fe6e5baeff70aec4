"""The metrics, by family: functions of a clip's timeline."""

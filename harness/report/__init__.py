"""Reports: functions of a run alone, which measure nothing and decide nothing."""

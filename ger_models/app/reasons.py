"""Why a photo or a video cannot be used, and notes on answers, in Chinese."""

from __future__ import annotations

import re
from functools import cache

# English with its places -> Chinese; what is not listed here is shown in English
REASONS: tuple[tuple[str, str], ...] = (
    (
        "the file is empty (0 bytes)",
        "文件为空（0 字节）",
    ),
    (
        "the file cannot be read: {why}",
        "无法读取文件（{why}）",
    ),
    (
        "damaged: {why}",
        "文件已损坏（{why}）",
    ),
    (
        "damaged in its archive",
        "在压缩包中已损坏",
    ),
    (
        "larger than {limit} MB",
        "大于 {limit} MB",
    ),
    (
        "not an image in one of the formats {formats}; the file is {kind}",
        "不是支持的图片格式（{formats}）；文件内容为 {kind}",
    ),
    (
        "not an image in one of the formats {formats}",
        "不是支持的图片格式（{formats}）",
    ),
    (
        "more than {limit} pixels: not decoded",
        "超过 {limit} 像素，不予解码",
    ),
    (
        "{width} x {height} pixels: more than {limit} are not decoded",
        "{width} x {height} 像素：超过 {limit} 像素，不予解码",
    ),
    (
        "{width} x {height} pixels: a side below {least} shows nothing",
        "{width} x {height} 像素：边长小于 {least}，无法辨认",
    ),
    (
        "{width} x {height} pixels: a strip, not a photo",
        "{width} x {height} 像素：过于狭长，不是照片",
    ),
    (
        "a file is missing, or is not one that was uploaded here: upload it again",
        "缺少文件，或文件不是在这里上传的：请重新上传",
    ),
    (
        "an uploaded file is not here any more: upload it again",
        "上传的文件已被删除：请重新上传",
    ),
    (
        "no photo was uploaded: choose photos, or a zip archive of photos",
        "没有上传照片：请选择照片或照片的 zip 压缩包",
    ),
    (
        "more than {count} photos: upload fewer at a time",
        "超过 {count} 张照片：请分批上传",
    ),
    (
        "more than {count} files: upload fewer at a time",
        "超过 {count} 个文件：请分批上传",
    ),
    (
        "{name} is larger than {limit} MB: upload fewer photos at a time",
        "{name} 大于 {limit} MB：请分批上传",
    ),
    (
        "{name} unpacks to more than {limit} MB: upload fewer photos at a time",
        "{name} 解压后超过 {limit} MB：请分批上传",
    ),
    (
        "{name} cannot be read as a zip archive: it is damaged or has too many entries",
        "无法将 {name} 作为 zip 压缩包读取：文件已损坏或条目过多",
    ),
    (
        "{name} contains a name that leads out of it, which is not accepted: {entry}",
        "{name} 中有指向压缩包之外的文件名，不予接受：{entry}",
    ),
    (
        "{name} contains a link or a special file, which is not accepted: {entry}",
        "{name} 中有链接或特殊文件，不予接受：{entry}",
    ),
    (
        "{name} contains an encrypted file, which is not accepted: {entry}",
        "{name} 中有加密文件，不予接受：{entry}",
    ),
    (
        "{name} contains another archive, which is not accepted: {entry}",
        "{name} 中有其他压缩包，不予接受：{entry}",
    ),
    (
        "no video, or damaged from its start ({why})",
        "不是视频，或从开头起已损坏（{why}）",
    ),
    (
        "damaged from its start ({why})",
        "从开头起已损坏（{why}）",
    ),
    (
        "damaged after {count} frames ({why})",
        "在第 {count} 帧之后已损坏（{why}）",
    ),
    (
        "it has no video, only sound",
        "文件只有声音，没有视频",
    ),
    (
        "it has no video",
        "文件中没有视频",
    ),
    (
        "it has no frame",
        "视频中没有画面",
    ),
    (
        "all its frames are damaged",
        "所有画面都已损坏",
    ),
    (
        "{lost} of {count} frames are damaged and were left out",
        "{count} 帧中有 {lost} 帧已损坏，未使用",
    ),
    (
        "its video is in a codec that FFmpeg does not know",
        "视频编码不受支持",
    ),
    (
        "a still picture, not a video: give it as a photo",
        "这是静态图片，不是视频：请作为照片上传",
    ),
    (
        "frames of {width} x {height} pixels: at most {limit} are accepted here",
        "画面为 {width} x {height} 像素：最大为 {limit}",
    ),
    (
        "frames of {width} x {height} pixels: a side below {least} shows nothing",
        "画面为 {width} x {height} 像素：边长小于 {least}，无法辨认",
    ),
    (
        "incomplete: it ends after {end} of {declared} s; the frames before are used",
        "不完整：应有 {declared} 秒，在 {end} 秒处结束；只使用之前的画面",
    ),
    (
        "an MP4 file without its index (the moov box), as when recording or copying was interrupted: copy "
        "the file again, or rebuild the index with a repair tool",
        "MP4 文件缺少索引（moov），可能是录制或复制被中断：请重新复制，或用修复工具重建索引",
    ),
    (
        "another video with frames above 1920 x 1088 pixels is being read: try again in some minutes",
        "正在处理另一段画面大于 1920 x 1088 像素的视频：请几分钟后再试",
    ),
    (
        "only its first {minutes} minutes are used",
        "只使用前 {minutes} 分钟",
    ),
    (
        "reading it takes more than {minutes} minutes; only its beginning is used",
        "读取时间超过 {minutes} 分钟，只使用开头部分",
    ),
    (
        "fps must be a number above 0, at most {most}",
        "每秒帧数必须大于 0，且不超过 {most}",
    ),
    (
        "an animation of {count} frames, of which one was used",
        "动画，共 {count} 帧，只使用了其中一帧",
    ),
    (
        "no face was found, so nothing is known about the group",
        "没有检测到人脸，无法判断群体情绪",
    ),
    (
        "no face was found",
        "没有检测到人脸",
    ),
)


def reason_in(reason: str, language: str) -> str:
    """A reason or note in a language; as it is where it is not in the table.

    >>> reason_in("larger than 25 MB", "zh"), reason_in("odd", "zh"), reason_in("larger than 25 MB", "en")
    ('大于 25 MB', 'odd', 'larger than 25 MB')
    """
    if language == "en":
        return reason
    for pattern, translated in _patterns():
        if match := pattern.fullmatch(reason):
            return translated.format(**match.groupdict())
    return reason


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The English side of `REASONS` with its places as groups, and the Chinese one."""
    places = [(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(reason)), zh) for reason, zh in REASONS]
    return [(re.compile(pattern, re.DOTALL), translated) for pattern, translated in places]
